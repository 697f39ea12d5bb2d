//! A chain of calls never gains a right that its first token lacked.
//!
//! For each kind of token, the test searches an instance of its own: the token makes every call of every route with every choice
//! of user, role and expiry. Each token in a response then does the same, and the tokens that it gets do so once more. Tokens
//! with equal rights count as one. After each call, all tokens of the chain are read from the store.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stackbell_model::Timestamp;
use stackbell_model::identity::TokenOwner;
use stackbell_model::permission::{Permission, Role};
use stackbell_store::identity::TokenHolder;

use crate::support::calls::{Names, calls};
use crate::support::identities::Planted;
use crate::support::{ADMIN, ORGANIZATION, World};

/// An organization of other users.
const OTHER: &str = "citadel";
/// Calls in a chain.
const CALLS: usize = 3;
const SOON: Timestamp = Timestamp::from_millis(32_000_000_000_000);
const LATER: &str = "2999-01-01T00:00:00Z";
const ROLES: [&str; 4] = ["admin", "member", "publisher", "viewer"];

/// The rights of a token in an organization.
fn permissions(holder: &TokenHolder, organization: &str) -> BTreeSet<&'static str> {
    let held = holder.memberships.iter().find(|held| held.organization.name.as_str() == organization);
    let may = |permission: &Permission| {
        held.is_some_and(|held| held.role.may(*permission)) && holder.token.role.may(*permission)
    };
    Permission::ALL
        .iter()
        .filter(|permission| may(permission))
        .map(|permission| permission.as_str())
        .collect()
}

fn operates(holder: &TokenHolder) -> bool {
    holder.token.is_operator && holder.user.as_ref().is_some_and(|user| user.is_operator)
}

/// Fails if `held` has more rights than `first`, which began the chain.
fn check(first: &TokenHolder, held: &TokenHolder, chain: &str) {
    assert!(operates(first) || !operates(held), "operates: {chain}");
    assert!(
        held.token.role.is_within(first.token.role),
        "has the role {}: {chain}",
        held.token.role.as_str()
    );
    if let Some(end) = first.token.expires_at {
        assert!(held.token.expires_at.is_some_and(|at| at <= end), "lives longer: {chain}");
    }
    for organization in [ORGANIZATION, OTHER] {
        let (had, has) = (permissions(first, organization), permissions(held, organization));
        assert!(has.is_subset(&had), "may {has:?} in {organization}, and could {had:?}: {chain}");
    }
}

/// The facts that decide about the rights of a token. Tokens with equal facts reach the same tokens.
fn shape(holder: &TokenHolder) -> String {
    let role = |name: &str| {
        let held = holder.memberships.iter().find(|held| held.organization.name.as_str() == name);
        held.map(|held| held.role)
    };
    let elsewhere: BTreeSet<_> = holder
        .memberships
        .iter()
        .filter(|held| ![ORGANIZATION, OTHER].contains(&held.organization.name.as_str()))
        .map(|held| held.role.as_str())
        .collect();
    let user = holder.user.as_ref().map(|user| user.is_operator);
    let token = &holder.token;
    format!(
        "{user:?} {:?} {} {} {:?} {:?} {elsewhere:?}",
        token.role,
        token.is_operator,
        token.expires_at.is_some(),
        role(ORGANIZATION),
        role(OTHER),
    )
}

/// All tokens that a response shows, wherever they stand in it.
fn tokens_in(answer: &str) -> Vec<String> {
    let words = answer.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sbl_")).map(str::to_owned).collect()
}

/// The calls that make users, organizations, members and tokens, with all choices, and one call of every other route that
/// changes something. `serial` makes names unique, and `made` is the user who was added last.
fn choices(serial: &mut usize, made: &str, kind: &Kind) -> Vec<(String, String, Value)> {
    let mut calls_made = Vec::new();
    let mut call = |method: &str, path: String, body: Value| calls_made.push((method.to_owned(), path, body));
    let mut fresh = || {
        *serial += 1;
        format!("made-{serial}")
    };
    let logins = ["rick", "both", made, if kind.login.is_empty() { "ops" } else { kind.login.as_str() }];
    let organizations = [ORGANIZATION, OTHER];
    // Another expiry matters only for a token that expires: it lacks the right to make a token that lives longer.
    let expiries =
        if kind.expires_at.is_some() { vec![Value::Null, json!(LATER)] } else { vec![Value::Null] };
    for operator in [false, true] {
        for expires_at in &expiries {
            call("POST", "/v1/users".to_owned(), json!({"login": fresh(), "operator": operator}));
            for role in ROLES {
                let body =
                    json!({"login": fresh(), "operator": operator, "role": role, "expiresAt": expires_at});
                call("POST", "/v1/users".to_owned(), body);
                let body = json!({"name": "x", "operator": operator, "role": role, "expiresAt": expires_at});
                call("POST", "/v1/user/tokens".to_owned(), body.clone());
                for login in logins {
                    call("POST", format!("/v1/users/{login}/tokens"), body.clone());
                }
                for organization in organizations {
                    call("POST", format!("/v1/orgs/{organization}/tokens"), body.clone());
                }
            }
        }
    }
    for login in logins {
        call("POST", "/v1/orgs".to_owned(), json!({"name": fresh(), "admin": login}));
        for organization in organizations {
            for role in ROLES {
                let path = format!("/v1/orgs/{organization}/members/{login}");
                call("PUT", path, json!({ "role": role }));
            }
        }
    }
    for organization in organizations {
        for other in calls(&Names::unknown(organization)).into_iter().filter(|call| call.method != "GET") {
            call(&other.method, other.path, other.body);
        }
        call("DELETE", format!("/v1/orgs/{organization}/members/{made}"), Value::Null);
    }
    calls_made
}

/// A kind of token.
#[derive(Clone, Debug)]
struct Kind {
    /// A login; empty for a service token.
    login: String,
    role: Role,
    is_operator: bool,
    expires_at: Option<Timestamp>,
}

/// All kinds: for each kind of user, with each role below the rights of the user, with and without expiry.
fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    let mut add = |login: &str, is_operator: bool, role: Role, expires_at: Option<Timestamp>| {
        kinds.push(Kind { login: login.to_owned(), role, is_operator, expires_at });
    };
    for operator in ["morty", "ops", "watcher"] {
        for role in Role::ALL {
            add(operator, true, *role, None);
        }
        add(operator, false, Role::Admin, None);
        add(operator, true, Role::Admin, Some(SOON));
    }
    for admin in ["rick", ""] {
        for role in Role::ALL {
            add(admin, false, *role, None);
        }
        add(admin, false, Role::Admin, Some(SOON));
    }
    for user in ["member", "publisher", "viewer", "both"] {
        add(user, false, Role::Admin, None);
    }
    kinds
}

/// Two organizations with users of all kinds.
async fn inhabited() -> World {
    let world = World::start().await;
    for (login, operator, role) in [
        ("ops", true, None),
        ("watcher", true, Some("viewer")),
        ("rick", false, None),
        ("member", false, Some("member")),
        ("publisher", false, Some("publisher")),
        ("viewer", false, Some("viewer")),
        ("both", false, Some("viewer")),
    ] {
        world.admin("POST", "/v1/users", json!({"login": login, "operator": operator})).await.expect(201);
        if let Some(role) = role {
            let path = format!("/v1/orgs/{ORGANIZATION}/members/{login}");
            world.admin("PUT", &path, json!({ "role": role })).await.expect(200);
        }
    }
    world.admin("POST", "/v1/orgs", json!({"name": OTHER, "admin": "rick"})).await.expect(201);
    let owner = world.user_owner("rick").await;
    let rick = Planted { owner, role: Role::Admin, is_operator: false, expires_at: None };
    let rick = world.plant(rick).await;
    let both = format!("/v1/orgs/{OTHER}/members/both");
    world.ask(&rick, "PUT", &both, json!({"role": "admin"})).await.expect(200);
    world
}

/// The state of a search.
struct Search {
    world: World,
    first: TokenHolder,
    /// All tokens of the chain, with the calls that made them.
    held: Vec<(String, String)>,
    shapes: BTreeSet<String>,
    made: String,
    serial: usize,
}

impl Search {
    /// Makes a call and keeps the tokens in its response. Returns whether it was allowed.
    async fn make(&mut self, token: &str, chain: &str, call: &(String, String, Value)) -> bool {
        let (method, path, body) = call;
        let answer = self.world.ask(token, method, path, body.clone()).await;
        if !answer.status.is_success() {
            return false;
        }
        let chain = format!("{chain} -> {method} {path} {body}");
        for shown in tokens_in(&String::from_utf8_lossy(&answer.body)) {
            let holder = self.world.holder(&shown).await.expect("it was just made");
            check(&self.first, &holder, &chain);
            if self.shapes.insert(shape(&holder)) {
                self.held.push((shown, chain.clone()));
            } else if !path.ends_with("/users") {
                // The number of an owner's tokens is limited.
                self.world.uproot(&holder.token).await;
            }
            if let (true, Some(user)) = (path.ends_with("/users"), holder.user) {
                self.made = user.login.to_string();
            }
        }
        if path.contains("/members/") || path == "/v1/orgs" {
            for (held, came_by) in &self.held {
                if let Some(holder) = self.world.holder(held).await {
                    check(&self.first, &holder, &format!("{came_by}; then {chain}"));
                }
            }
        }
        true
    }
}

async fn search(kind: &Kind) -> usize {
    let world = inhabited().await;
    let owner = match kind.login.as_str() {
        "" => world.organization_owner(ORGANIZATION).await,
        login => world.user_owner(login).await,
    };
    let Kind { role, is_operator, expires_at, .. } = *kind;
    let token = world.plant(Planted { owner, role, is_operator, expires_at }).await;
    let first = world.holder(&token).await.expect("it was planted");
    let members = [world.members(ORGANIZATION).await, world.members(OTHER).await];
    let shapes = BTreeSet::from([shape(&first)]);
    let held = vec![(token, format!("{kind:?}"))];
    let mut search = Search { world, first, held, shapes, made: "both".to_owned(), serial: 0 };
    let (mut allowed, mut begin) = (0, 0);
    for _ in 0..CALLS {
        let frontier = search.held[begin..].to_vec();
        begin = search.held.len();
        for (token, chain) in frontier {
            for call in choices(&mut search.serial, &search.made.clone(), kind) {
                allowed += usize::from(search.make(&token, &chain, &call).await);
            }
        }
    }
    // If the first token lacks the right to edit members, no token of the chain may have changed them.
    for (organization, before) in [ORGANIZATION, OTHER].into_iter().zip(members) {
        if !permissions(&search.first, organization).contains(Permission::EditMembers.as_str()) {
            assert_eq!(search.world.members(organization).await, before, "{kind:?} in {organization}");
        }
    }
    allowed
}

#[tokio::test]
async fn no_chain_of_three_calls_reaches_a_right_that_its_token_lacked() {
    let mut allowed = Vec::new();
    for kind in kinds() {
        allowed.push((search(&kind).await, kind));
    }
    // The search would prove nothing if no call were allowed: operators, admins and users make tokens, but service tokens
    // that only read do not.
    for (allowed, kind) in allowed {
        let is_idle = kind.login.is_empty() && kind.role != Role::Admin;
        assert!(is_idle || allowed > 0, "{kind:?}: {allowed}");
    }
}

/// Checks that the search finds a planted violation.
#[tokio::test]
async fn an_admins_token_in_a_viewers_hands_is_seen() {
    let world = inhabited().await;
    let plant = async |login: &str, role| {
        let owner = world.user_owner(login).await;
        let planted = Planted { owner, role, is_operator: false, expires_at: None };
        world.holder(&world.plant(planted).await).await.expect("it was planted")
    };
    let (viewer, admin) = (plant("viewer", Role::Viewer).await, plant("morty", Role::Admin).await);
    assert!(matches!(viewer.token.owner, TokenOwner::User(_)));
    assert_eq!(tokens_in(&format!("{{\"a\":[\"sbl_1\"],\"token\":\"sbl_2\"}} {ADMIN}")), ["sbl_1", "sbl_2"]);
    check(&admin, &viewer, "fewer rights are fine");
    let seen = std::panic::catch_unwind(|| check(&viewer, &admin, "more are not"));
    assert!(seen.is_err());
}
