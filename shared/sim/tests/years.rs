//! What CI plays: the same stories every time. `cargo sim --from N` plays others.

mod tools;

#[test]
fn every_story_ends_well() {
    assert!(tools::run("sim", &[]), "see above for the seeds, and how to replay them");
}
