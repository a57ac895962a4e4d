//! The tiles of a scan hold every pixel once, in order, and none is larger than asked for.

use xrfit::tile::Tiles;

#[test]
fn tiles_hold_every_pixel_once_and_in_order() {
    for (pixels, tile_pixels) in [(0, 3), (1, 1), (99, 7), (99, 99), (99, 1000), (101, 10)] {
        let tiles = Tiles::new(pixels, tile_pixels);
        let held: Vec<_> = (0..tiles.count()).filter_map(|tile| tiles.get(tile)).collect();
        assert_eq!(held.len(), tiles.count(), "tiles of {pixels} pixels by {tile_pixels}");
        assert!(held.iter().all(|tile| (1..=tile_pixels).contains(&tile.len())), "{held:?}");
        let order: Vec<_> = held.into_iter().flatten().collect();
        assert_eq!(order, (0..pixels).collect::<Vec<_>>(), "{pixels} pixels by {tile_pixels}");
    }
}

#[test]
fn there_is_no_tile_past_the_last() {
    let tiles = Tiles::new(99, 7);
    for past in [tiles.count(), usize::MAX] {
        assert_eq!(tiles.get(past), None, "tile {past} of {}", tiles.count());
    }
}
