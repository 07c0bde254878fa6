//! Worlds with instances.

use snapferry_core::ids::{InstanceId, Scope, VolumeId};
use snapferry_sim::Sim;

/// An instance and what is attached to it.
pub(crate) struct Server {
    pub(crate) id: InstanceId,
    /// On `/dev/xvda`, which comes after the others.
    pub(crate) boot: VolumeId,
    /// On `/dev/sdf` and so on.
    pub(crate) data: Vec<VolumeId>,
}

impl Server {
    /// Every volume in the order of device names.
    pub(crate) fn volumes(&self) -> Vec<VolumeId> {
        self.data.iter().chain([&self.boot]).cloned().collect()
    }
}

/// A running instance with these tags, a boot volume and so many data volumes, none of which has tags.
pub(crate) fn server(sim: &Sim, scope: &Scope, tags: &[(&str, &str)], data: usize) -> Server {
    let id = sim.instance(scope, tags);
    let boot = sim.volume(scope, &[]);
    sim.attach(&id, "/dev/xvda", &boot);
    let mut server = Server { id, boot, data: Vec::new() };
    for _ in 0..data {
        attach(sim, &mut server, sim.volume(scope, &[]));
    }
    server
}

/// Attaches a volume as the next data volume.
pub(crate) fn attach(sim: &Sim, server: &mut Server, volume: VolumeId) {
    let letter = char::from(b'f' + u8::try_from(server.data.len()).unwrap());
    sim.attach(&server.id, &format!("/dev/sd{letter}"), &volume);
    server.data.push(volume);
}

/// An `io2` volume that all of these instances have (Multi-Attach).
pub(crate) fn attach_to_all(
    sim: &Sim,
    scope: &Scope,
    servers: &mut [Server],
    tags: &[(&str, &str)],
) -> VolumeId {
    let volume = volume_of_type(sim, scope, "io2", tags);
    for server in servers {
        attach(sim, server, volume.clone());
    }
    volume
}

pub(crate) fn volume_of_type(
    sim: &Sim,
    scope: &Scope,
    volume_type: &str,
    tags: &[(&str, &str)],
) -> VolumeId {
    let volume = sim.volume(scope, tags);
    sim.change_volume(&volume, |it| volume_type.clone_into(&mut it.volume_type));
    volume
}
