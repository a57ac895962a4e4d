//! A step that fails on some rank fails on all with the same message, that of the lowest rank.

use xrfit::cluster::{Cluster, Solo, channels, fail};
use xrfit::error::Error;

#[test]
fn all_ranks_learn_the_failure_of_the_lowest() {
    for ranks in [2, 5] {
        let told = channels::run(ranks, |cluster| {
            let rank = cluster.rank();
            let tried = match rank {
                0 => Ok(7),
                _ => Err(Error::file("scan.mda", format!("no such file, says rank {rank}"))),
            };
            cluster.agree(tried).map_err(|error| error.to_string())
        });
        let expected = Err("rank 1: scan.mda: no such file, says rank 1".to_string());
        assert_eq!(told, Ok(vec![expected; ranks]), "what {ranks} ranks agree on");
    }
}

#[test]
fn ranks_that_agree_go_on_with_their_own_values() {
    let values = channels::run(5, |cluster| {
        let mut sum = 0;
        for round in 0..23 {
            sum += cluster.agree(Ok(cluster.rank() * round)).expect("no failure");
            cluster.barrier();
            let told =
                cluster.broadcast(vec![round as u8; if cluster.rank() == 0 { 3 } else { 0 }]);
            assert_eq!(told, [round as u8; 3], "what rank 0 says");
        }
        sum
    });
    assert_eq!(values, Ok((0..5).map(|rank| rank * 253).collect()));
}

#[test]
fn what_every_rank_says_comes_to_rank_0_by_rank() {
    for ranks in [1, 2, 5] {
        let heard = channels::run(ranks, |cluster| {
            let rank = cluster.rank();
            // the last are the quickest: what they say next must not be taken for this
            std::thread::sleep(std::time::Duration::from_millis(3 * (ranks - rank) as u64));
            [1, 2].map(|round| cluster.gather(vec![round * rank as u8; rank]))
        });
        let said =
            |round| (0..ranks).map(|rank| vec![round * rank as u8; rank]).collect::<Vec<_>>();
        let expected = [1, 2].map(said);
        let heard = heard.expect("no rank ends the job");
        assert_eq!(heard[0], expected, "what rank 0 of {ranks} heard");
        let others = heard[1..].iter().flatten();
        assert!(others.into_iter().all(Vec::is_empty), "what the other ranks heard: {heard:?}");
    }
}

#[test]
fn a_failure_alone_keeps_its_own_error() {
    let solo: &mut dyn Cluster = &mut Solo;
    let error =
        solo.agree::<()>(Err(Error::file("scan.mda", "no such file"))).expect_err("failure");
    assert!(matches!(error, Error::File { .. }), "{error:?}");
}

#[test]
fn fail_ends_all_ranks() {
    let ended = channels::run(3, |cluster| {
        if cluster.rank() == 2 {
            fail(cluster, &Error::configuration("this line belongs to the test"));
        }
        cluster.barrier();
    });
    assert_eq!(ended, Err(1), "exit code");
}
