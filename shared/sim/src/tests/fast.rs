use snapferry_core::ec2::{Ec2, ErrorKind};
use snapferry_core::inventory::State;

use super::{because, client, done, member, minutes, names, not_ready, refused, sim, snapshot};

#[test]
fn zones_are_enabled_and_disabled_one_by_one() {
    let sim = sim();
    let it = snapshot(&sim);
    let ec2 = client(&sim, &member());
    let zones = done(ec2.describe_availability_zones());
    assert_eq!(zones["euc1-az2"], "eu-central-1a");
    assert_eq!(done(ec2.describe_fast_snapshot_restores()), [].into());
    for zone in ["eu-central-1a", "eu-central-1b", "eu-central-1a"] {
        done(ec2.enable_fast_snapshot_restores(&it, &names(&[zone])));
    }
    let both = names(&["eu-central-1a", "eu-central-1b"]);
    assert_eq!(done(ec2.describe_fast_snapshot_restores()), [(it.clone(), both)].into());
    done(ec2.disable_fast_snapshot_restores(&it, &names(&["eu-central-1a", "eu-central-1c"])));
    let left = names(&["eu-central-1b"]);
    assert_eq!(done(ec2.describe_fast_snapshot_restores()), [(it.clone(), left)].into());

    for wrong in
        [names(&["us-east-1a"]), names(&["eu-central-1d"]), names(&["euc1-az1"]), [].into()]
    {
        let (kind, _) = refused(ec2.enable_fast_snapshot_restores(&it, &wrong));
        assert_eq!(kind, ErrorKind::Invalid, "{wrong:?}");
        let (kind, _) = refused(ec2.disable_fast_snapshot_restores(&it, &wrong));
        assert_eq!(kind, ErrorKind::Invalid, "{wrong:?}");
    }
}

#[test]
fn a_region_has_room_for_five() {
    let sim = sim();
    let ec2 = client(&sim, &member());
    let zone = names(&["eu-central-1a"]);
    let six: Vec<_> = (0..6).map(|_| snapshot(&sim)).collect();
    for it in &six[..5] {
        done(ec2.enable_fast_snapshot_restores(it, &zone));
    }
    done(ec2.enable_fast_snapshot_restores(&six[0], &names(&["eu-central-1b"])));
    let full = because(ErrorKind::QuotaExceeded, "ResourceLimitExceeded");
    assert_eq!(refused(ec2.enable_fast_snapshot_restores(&six[5], &zone)), full);
    done(ec2.delete_snapshot(&six[1]));
    done(ec2.enable_fast_snapshot_restores(&six[5], &zone));
    assert_eq!(done(ec2.describe_fast_snapshot_restores()).len(), 5);
}

#[test]
fn only_what_is_complete_and_not_too_large_can_be_fast() {
    let sim = sim();
    let ec2 = client(&sim, &member());
    let zone = names(&["eu-central-1a"]);
    let it = snapshot(&sim);
    sim.change(&it, |it| it.snapshot.state = State::Pending);
    assert_eq!(refused(ec2.enable_fast_snapshot_restores(&it, &zone)), not_ready());
    sim.change(&it, |it| {
        it.snapshot.state = State::Completed;
        it.snapshot.volume_size_gib = 16 * 1024 + 1;
    });
    let (kind, _) = refused(ec2.enable_fast_snapshot_restores(&it, &zone));
    assert_eq!(kind, ErrorKind::Invalid);
    sim.change(&it, |it| it.snapshot.volume_size_gib -= 1);
    done(ec2.enable_fast_snapshot_restores(&it, &zone));
    sim.remove(&it);
    sim.advance(minutes(1));
    let gone = because(ErrorKind::NotFound, "InvalidSnapshot.NotFound");
    assert_eq!(refused(ec2.disable_fast_snapshot_restores(&it, &zone)), gone);
}
