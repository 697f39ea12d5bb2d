//! The dependencies allowed between our crates.

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata};

use super::{Finding, SourceFile};

const PREFIX: &str = "stackbell-";

/// The crates that a crate may use outside its tests.
enum MayUse {
    These(&'static [&'static str]),
    AllButTestkit,
}

/// The dependencies allowed for each crate, without the prefix of the names. `testkit` is for tests: outside
/// of tests only `chaos` may use it, because it is itself a test.
const EDGES: &[(&str, MayUse)] = &[
    ("model", MayUse::These(&[])),
    ("system", MayUse::These(&["model"])),
    ("payload", MayUse::These(&["model"])),
    ("wire", MayUse::These(&["model", "payload"])),
    ("client", MayUse::These(&["model", "system", "wire"])),
    ("keys", MayUse::These(&["model"])),
    ("store", MayUse::These(&["model"])),
    ("store-memory", MayUse::These(&["model", "store"])),
    ("store-postgres", MayUse::These(&["model", "store"])),
    ("store-sqlite", MayUse::These(&["model", "store"])),
    ("engine", MayUse::These(&["keys", "model", "payload", "store", "system", "wire"])),
    ("config", MayUse::These(&["engine", "keys", "model", "store", "store-postgres", "system"])),
    ("app", MayUse::These(&["engine", "keys", "model", "payload", "store", "wire"])),
    ("http-kit", MayUse::These(&["app", "model", "wire"])),
    ("http", MayUse::These(&["app", "http-kit", "model", "wire"])),
    (
        "server",
        MayUse::These(&[
            "app",
            "config",
            "engine",
            "http",
            "keys",
            "model",
            "store",
            "store-postgres",
            "store-sqlite",
            "system",
        ]),
    ),
    ("stackbell", MayUse::AllButTestkit),
    ("bench", MayUse::These(&[])),
    ("testkit", MayUse::AllButTestkit),
    ("chaos", MayUse::These(&["model", "testkit"])),
    ("webhook-receiver", MayUse::These(&[])),
    ("xtask", MayUse::These(&[])),
];

/// A crate of ours.
pub(super) struct Package {
    /// Without the prefix.
    name: String,
    manifest: String,
    /// The crates of ours that it uses outside its tests, without the prefix.
    uses: Vec<String>,
}

/// Our crates, with the edges that cargo sees.
pub(super) fn packages(metadata: &Metadata) -> Result<Vec<Package>> {
    let members = metadata.workspace_packages();
    let ours: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    members.iter().map(|member| package(member, &ours, metadata)).collect()
}

fn package(member: &cargo_metadata::Package, ours: &[&str], metadata: &Metadata) -> Result<Package> {
    let manifest = member
        .manifest_path
        .strip_prefix(&metadata.workspace_root)
        .with_context(|| format!("{} is outside the workspace", member.name))?;
    let uses = member
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .filter(|dependency| ours.contains(&dependency.name.as_str()))
        .map(|dependency| short(&dependency.name).to_owned())
        .collect();
    Ok(Package { name: short(&member.name).to_owned(), manifest: manifest.to_string(), uses })
}

pub(super) fn check(packages: &[Package], files: &[SourceFile]) -> Vec<Finding> {
    packages.iter().flat_map(|package| check_package(package, files)).collect()
}

fn check_package(package: &Package, files: &[SourceFile]) -> Vec<Finding> {
    let finding = |line, what, remedy| Finding { path: package.manifest.clone(), line, what, remedy };
    let Some((_, may_use)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
        let what = format!("{} is not in the table of dependencies", package.name);
        return vec![finding(1, what, "say in xtask/src/tidy/edges.rs what it may use")];
    };
    let is_allowed = |used: &str| match may_use {
        MayUse::These(names) => names.contains(&used),
        MayUse::AllButTestkit => used != "testkit",
    };
    let forbidden = package.uses.iter().filter(|used| !is_allowed(used));
    forbidden
        .map(|used| {
            let line = line_of(files, &package.manifest, used);
            let what = format!("{} uses {used}", package.name);
            finding(line, what, "turn the dependency around, or move what is needed to a crate below both")
        })
        .collect()
}

/// Returns the line of the dependency in the manifest; 1 if it is unknown.
fn line_of(files: &[SourceFile], manifest: &str, used: &str) -> usize {
    let dependency = format!("{PREFIX}{used}");
    let names_it = |line: &str| {
        line.trim_start().strip_prefix(&dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    files
        .iter()
        .find(|file| file.path == manifest)
        .and_then(|file| file.numbered_lines().find(|(_, line)| names_it(line)))
        .map_or(1, |(number, _)| number)
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    fn check_uses(name: &str, uses: &[&str], expected: &[&str]) {
        let package = Package {
            name: name.to_owned(),
            manifest: "Cargo.toml".to_owned(),
            uses: uses.iter().map(|used| (*used).to_owned()).collect(),
        };
        let manifest = "[dependencies]\nstackbell-store-sqlite.workspace = true\nstackbell-store = { workspace = true }\n";
        assert_eq!(brief(&check(&[package], &[file("Cargo.toml", manifest)])), expected);
    }

    #[test]
    fn allows_what_is_in_the_table() {
        check_uses("model", &[], &[]);
        check_uses("engine", &["keys", "model", "store", "wire"], &[]);
        check_uses("stackbell", &["http", "store-sqlite"], &[]);
    }

    #[test]
    fn finds_edges_that_point_up_at_the_line_of_the_manifest() {
        check_uses("wire", &["model", "store"], &["Cargo.toml:3: wire uses store"]);
        check_uses("app", &["store-sqlite"], &["Cargo.toml:2: app uses store-sqlite"]);
        check_uses("stackbell", &["testkit"], &["Cargo.toml:1: stackbell uses testkit"]);
    }

    #[test]
    fn finds_a_crate_that_nobody_placed() {
        check_uses("console", &[], &["Cargo.toml:1: console is not in the table of dependencies"]);
    }

    #[test]
    fn the_table_has_no_cycle() {
        for (name, may_use) in EDGES {
            let MayUse::These(uses) = may_use else { continue };
            let position = |wanted: &str| EDGES.iter().position(|(other, _)| *other == wanted);
            assert!(
                uses.iter().all(|used| position(used) < position(name)),
                "{name} uses what stands above it"
            );
        }
    }
}
