//! Where limits are taken from.

use tessera_manifest::Limits;

#[test]
fn limits_are_taken_from_the_first_place_that_says_something() {
    let over = Limits { rows: Some(1), ..Limits::default() };
    let below = Limits { rows: Some(2), instances: Some(3), ..Limits::default() };
    let both = over.over(&below);
    assert_eq!((both.rows, both.instances, both.memory), (Some(1), Some(3), None));
}
