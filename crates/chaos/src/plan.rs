//! The modes of a run, and their numbers of kills.

use std::fmt;

use clap::ValueEnum;

/// The store under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// A file in the data folder.
    Sqlite,
    /// A PostgreSQL server, which is killed as well.
    Postgres,
}

/// The fault of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Processes are killed; the machine keeps running.
    Kill,
    /// The power fails, and all unsynced data is lost.
    Power,
    /// First the disk fills up. Then processes are killed, or the power fails.
    FullDisk,
}

/// A combination of store and fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) store: Store,
    pub(crate) fault: Fault,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            Store::Sqlite => "sqlite",
            Store::Postgres => "postgres",
        };
        let fault = match self.fault {
            Fault::Kill => "kill",
            Fault::Power => "discard unsynced",
            Fault::FullDisk => "fill disk",
        };
        write!(formatter, "{store}, {fault}")
    }
}

/// All modes, with their percentage of kills: more where more can go wrong, fewer where a kill takes long.
const MIX: [(Store, Fault, usize); 6] = [
    (Store::Sqlite, Fault::Power, 45),
    (Store::Sqlite, Fault::Kill, 22),
    (Store::Sqlite, Fault::FullDisk, 18),
    (Store::Postgres, Fault::Power, 8),
    (Store::Postgres, Fault::Kill, 4),
    (Store::Postgres, Fault::FullDisk, 3),
];

/// Distributes the kills among the modes with this store, if given, and these faults, if given.
pub(crate) fn share(kills: usize, store: Option<Store>, faults: &[Fault]) -> Vec<(Mode, usize)> {
    let is_wanted = |&&(at, fault, _): &&(Store, Fault, usize)| {
        store.is_none_or(|store| store == at) && (faults.is_empty() || faults.contains(&fault))
    };
    let wanted: Vec<_> = MIX.iter().filter(is_wanted).collect();
    let all: usize = wanted.iter().map(|(.., weight)| weight).sum();
    let mut shares = Vec::new();
    let (mut given, mut weights) = (0, 0);
    for &&(store, fault, weight) in &wanted {
        weights += weight;
        let until = kills * weights / all;
        shares.push((Mode { store, fault }, until - given));
        given = until;
    }
    shares.retain(|(_, kills)| *kills > 0);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kills: usize, store: Option<Store>, faults: &[Fault], expected: &[(&str, usize)]) {
        let shares: Vec<_> =
            share(kills, store, faults).into_iter().map(|(mode, kills)| (mode.to_string(), kills)).collect();
        let expected: Vec<_> = expected.iter().map(|(mode, kills)| ((*mode).to_owned(), *kills)).collect();
        assert_eq!(shares, expected);
    }

    #[test]
    fn shares_all_kills_out() {
        check(
            1000,
            None,
            &[],
            &[
                ("sqlite, discard unsynced", 450),
                ("sqlite, kill", 220),
                ("sqlite, fill disk", 180),
                ("postgres, discard unsynced", 80),
                ("postgres, kill", 40),
                ("postgres, fill disk", 30),
            ],
        );
        check(7, Some(Store::Postgres), &[Fault::Power], &[("postgres, discard unsynced", 7)]);
        for kills in 1..100 {
            assert_eq!(share(kills, None, &[]).iter().map(|(_, kills)| kills).sum::<usize>(), kills);
        }
    }
}
