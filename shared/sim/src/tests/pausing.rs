use std::pin::Pin;

use jiff::SignedDuration;
use snapferry_core::ec2::Ec2;
use snapferry_core::execute::Pause;
use snapferry_core::inventory::State;

use super::{client, done, member, minutes, of, sim};
use crate::{drive, interleave};

#[test]
fn a_pause_takes_the_worlds_time() {
    let sim = sim();
    let volume = sim.volume(&member(), &[]);
    let made = done(client(&sim, &member()).create_snapshot(&of(&volume)));
    let began = sim.now();
    let pause: &Pause = &sim.pause();
    drive(pause(minutes(10))).unwrap();
    assert_eq!(sim.now().duration_since(began), minutes(10));
    let state = sim.record(&made).unwrap().snapshot.state;
    assert_eq!(state, State::Completed, "what is due happens");
}

#[test]
fn pauses_side_by_side_overlap_and_none_is_too_short() {
    for seed in 0..200 {
        let sim = sim();
        sim.set(|it| it.turns = 3);
        let began = sim.now();
        let pause = sim.pause();
        let ec2 = client(&sim, &member());
        let one = |n: i64| {
            let (sim, pause, ec2) = (&sim, &pause, &ec2);
            Box::pin(async move {
                let volume = sim.volume(&member(), &[]);
                let mut waited = Vec::new();
                for _ in 0..3 {
                    ec2.create_snapshot(&of(&volume)).await.unwrap(); // EC2 wants 15 seconds
                    let before = sim.now();
                    pause(SignedDuration::from_secs(15 + n)).await;
                    waited.push(sim.now().duration_since(before).as_secs() >= 15 + n);
                }
                waited.into_iter().all(|enough| enough)
            }) as Pin<Box<dyn Future<Output = bool> + '_>>
        };
        let enough = interleave(seed, (0..4).map(one).collect());
        assert_eq!(enough, [Some(true); 4], "seed {seed}");
        let took = sim.now().duration_since(began).as_secs();
        assert!((3 * 18..=3 * (15 + 16 + 17 + 18)).contains(&took), "seed {seed}: {took}");
        assert_eq!(sim.records().len(), 12);
    }
}
