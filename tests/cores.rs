//! A rank runs as many threads as its share of the cores that it may use, and is told when a
//! launcher keeps it from cores that stay idle.

use xrfit::cluster::cores::{Cores, advice, share};

fn sets(lists: &[&str]) -> Vec<Cores> {
    lists.iter().map(|list| Cores::parse(list).expect("a list of cores")).collect()
}

#[test]
fn ranks_share_the_cores_that_they_may_use() {
    // cores of each rank, threads that the system allows, share of each rank
    let cases: [(&[&str], usize, &[usize]); 6] = [
        (&["0-3", "0-3"], 4, &[2, 2]),
        (&["0-3", "0-3", "0-3"], 4, &[1, 1, 1]),
        (&["0-1", "2-3"], 2, &[2, 2]),
        (&["0-6,64,100-101", "0-6,64,100-101"], 5, &[2, 2]),
        (&["0", "0", "0"], 1, &[1, 1, 1]),
        (&["0-5", "0-1"], 6, &[5, 1]),
    ];
    for (lists, limit, expected) in cases {
        let cores = sets(lists);
        let actual: Vec<_> = (0..cores.len()).map(|rank| share(&cores, rank, limit)).collect();
        assert_eq!(actual, expected, "threads of ranks on {lists:?}, limit {limit}");
    }
}

#[test]
fn ranks_bound_to_fewer_cores_than_there_are_get_advice() {
    let machine = sets(&["0-3"])[0];
    let text = advice(&sets(&["0", "1"]), &machine).expect("advice for 2 ranks on 2 of 4 cores");
    assert!(text.contains("2 of its 4") && text.contains("--bind-to none"), "{text}");
    assert_eq!(advice(&sets(&["0-1", "2-3"]), &machine), None);
    assert_eq!(advice(&sets(&["0-3"]), &machine), None);
}

#[test]
fn text_that_is_no_list_of_cores_gives_none() {
    for list in ["", "a-b", "0-", "9000"] {
        assert_eq!(Cores::parse(list), None, "cores in {list:?}");
    }
}
