//! A process's way to AWS: how a call gets there, what can go wrong with it, and how time passes in between.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use snapferry_core::ec2::{Access, Ec2Error, Ec2Provider, ErrorKind};
use snapferry_core::ids::{AccountId, Region, Scope, UnitId};

use crate::calls::{Call, Fault, Refusal, no_answer, refuse};
use crate::port::Client;
use crate::turns::turns;
use crate::world::{Sim, World};

/// A pause.
pub type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One process's way to AWS, with the credentials of one account.
#[derive(Clone, Debug)]
pub struct Aws {
    sim: Sim,
    home: Scope,
    /// So many calls are left to the process; `None`: it does not die.
    lives: Option<Arc<AtomicUsize>>,
}

impl Sim {
    /// A process in this account and Region.
    #[must_use]
    pub fn aws(&self, home: &Scope) -> Aws {
        Aws { sim: self.clone(), home: home.clone(), lives: None }
    }

    /// As [`Sim::aws`], but the process dies after so many calls have reached AWS: it never hears what became of the
    /// last one.
    #[must_use]
    pub fn aws_dying_after(&self, home: &Scope, calls: usize) -> Aws {
        Aws { lives: Some(Arc::new(AtomicUsize::new(calls))), ..self.aws(home) }
    }

    /// How a process waits here ([`Limits::pause`](snapferry_core::execute::Limits::pause)): the others may go on, then
    /// the clock is moved on to the end of the pause, unless another's longer pause has done so already.
    pub fn pause(&self) -> impl Fn(SignedDuration) -> Waiting + Send + Sync + use<> {
        let sim = self.clone();
        move |by| {
            let sim = sim.clone();
            Box::pin(async move {
                if sim.world().clock.is_some() {
                    return sim.sleep(by).await;
                }
                let (until, wait) = {
                    let mut world = sim.world();
                    let n = 8 * world.settings.turns;
                    (world.after(by), 1 + world.rng.below(n))
                };
                turns(wait).await;
                sim.world().pass_until(until);
            })
        }
    }
}

impl Aws {
    /// As [`Sim::pause`].
    pub fn pause(&self) -> impl Fn(SignedDuration) -> Waiting + Send + Sync + use<> {
        self.sim.pause()
    }

    pub(crate) async fn call<T>(
        &self,
        scope: &Scope,
        operation: &'static str,
        object: &str,
        act: impl FnOnce(&mut World, usize) -> Result<T, Refusal> + Send,
    ) -> Result<T, Ec2Error> {
        let wait = {
            let mut world = self.sim.world();
            let n = world.settings.turns;
            1 + world.rng.below(n)
        };
        turns(wait).await;
        let Some(last) = self.spend() else {
            return std::future::pending().await;
        };
        let is_taken = self.sim.is_taken(scope, operation).await;
        let result = self.sim.world().answer(scope, operation, object, is_taken, act);
        if last {
            return std::future::pending().await;
        }
        result
    }

    /// Whether this call is the process's last; `None`: it is dead already.
    fn spend(&self) -> Option<bool> {
        let Some(lives) = &self.lives else {
            return Some(false);
        };
        let left = lives.load(Ordering::Relaxed);
        lives.store(left.checked_sub(1)?, Ordering::Relaxed);
        Some(left == 1)
    }
}

impl World {
    fn answer<T>(
        &mut self,
        scope: &Scope,
        operation: &'static str,
        object: &str,
        is_taken: Option<bool>,
        act: impl FnOnce(&mut Self, usize) -> Result<T, Refusal>,
    ) -> Result<T, Ec2Error> {
        let takes = self.settings.call_takes;
        if !takes.is_zero() {
            self.pass_until(self.after(takes));
        }
        let number = self.journal.len();
        let mut call = Call {
            number,
            scope: scope.clone(),
            operation,
            object: object.to_owned(),
            happened: false,
        };
        let fault = match &mut self.faults {
            Some(faults) => faults(&call),
            None => Fault::None,
        };
        if let Fault::Slow(by) | Fault::TimeOut { after: by, .. } = fault {
            self.pass_until(self.after(by));
        }
        self.missing_page = None;
        let result = match fault {
            Fault::Refuse(kind, code) => refuse(kind, code, "told to refuse"),
            Fault::NoAnswer | Fault::TimeOut { happened: false, .. } => {
                self.journal.push(call);
                return Err(no_answer(operation));
            }
            _ if !is_taken.unwrap_or_else(|| self.has_token(scope, operation)) => {
                refuse(ErrorKind::Throttled, "RequestLimitExceeded", "Request limit exceeded.")
            }
            _ if self.disabled.contains(scope) && operation != "AssumeRole" => refuse(
                ErrorKind::RegionDisabled,
                "OptInRequired",
                "You are not subscribed to this service",
            ),
            Fault::StaleRead(writes) => act(self, writes),
            Fault::MissingPage(which) => {
                self.missing_page = Some(which);
                act(self, 0)
            }
            Fault::None | Fault::DoButNoAnswer | Fault::Slow(_) | Fault::TimeOut { .. } => {
                act(self, 0)
            }
        };
        let is_lost = matches!(fault, Fault::DoButNoAnswer | Fault::TimeOut { .. });
        call.happened = result.is_ok();
        self.journal.push(call);
        match result {
            Ok(_) if is_lost => Err(no_answer(operation)),
            Ok(answer) => Ok(answer),
            Err(refusal) => Err(refusal.of(operation, number)),
        }
    }
}

impl Ec2Provider for Aws {
    type Ec2 = Client;

    fn home(&self) -> Region {
        self.home.region.clone()
    }

    async fn account(&self) -> Result<AccountId, Ec2Error> {
        let account = self.home.account.clone();
        self.call(&self.home, "GetCallerIdentity", "", |_, _| Ok(account)).await
    }

    async fn caller(&self) -> Result<String, Ec2Error> {
        let caller = format!("arn:aws:sts::{}:assumed-role/function/snapferry", self.home.account);
        self.call(&self.home, "GetCallerIdentity", "", |_, _| Ok(caller)).await
    }

    async fn accounts_in(&self, unit: &UnitId) -> Result<BTreeSet<AccountId>, Ec2Error> {
        let of = |world: &mut World, _| world.unit(unit).map(|it| it.accounts.clone());
        self.call(&self.home, "ListAccountsForParent", unit.as_str(), of).await
    }

    async fn units_in(&self, unit: &UnitId) -> Result<BTreeSet<UnitId>, Ec2Error> {
        let of = |world: &mut World, _| world.unit(unit).map(|it| it.units.clone());
        self.call(&self.home, "ListOrganizationalUnitsForParent", unit.as_str(), of).await
    }

    async fn connect(&self, access: &Access, region: &Region) -> Result<Client, Ec2Error> {
        let account = match &access.role_arn {
            None => self.home.account.clone(),
            Some(role) => {
                let account = role.account();
                let assume = |world: &mut World, _| {
                    if world.locked_out.contains(&account) {
                        let what = "not authorized to perform sts:AssumeRole";
                        return refuse(ErrorKind::AccessDenied, "AccessDenied", what);
                    }
                    Ok(account.clone())
                };
                self.call(&self.home, "AssumeRole", role.as_str(), assume).await.map_err(|err| {
                    Ec2Error::AssumeRole {
                        role: role.clone(),
                        account: role.account(),
                        caller: format!("arn:aws:sts::{}:assumed-role/function", self.home.account),
                        external_id: access.external_id.is_some(),
                        source: Box::new(err),
                    }
                })?
            }
        };
        Ok(Client { aws: self.clone(), scope: Scope { account, region: region.clone() } })
    }
}
