use stackbell_keys::MasterKey;
use stackbell_store::identity::{HeldMembership, Identity as _};
use stackbell_store_memory::MemoryStore;
use stackbell_system::SystemEntropy;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn settings(organization: Option<&str>, token: Option<&str>) -> BootstrapSettings {
    BootstrapSettings {
        organization: organization.map(|name| OrganizationName::parse(name).expect("a name")),
        user: Login::parse("admin").expect("a login"),
        token: token.map(|token| SecretText::new(token.to_owned())),
    }
}

fn keyring(entropy: &mut SystemEntropy) -> Keyring {
    Keyring::generate(&MasterKey::generate(entropy), entropy, NOW).0
}

async fn check(settings: &BootstrapSettings, expect_existing: bool, expected: &str) {
    let decided = decide(&MemoryStore::default(), settings, expect_existing).await;
    let decided = match decided {
        Ok(Beginning::With { organization, .. }) => format!("begins with {organization}"),
        Ok(Beginning::InUse) => "in use".to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(decided.contains(expected), "{decided}");
}

#[tokio::test]
async fn records_of_a_new_store() {
    check(&settings(Some("acme"), Some(TOKEN)), false, "begins with acme").await;
    check(&settings(None, Some(TOKEN)), false, "bootstrap_org is not set").await;
    check(&settings(Some("acme"), None), false, "bootstrap_token is not set").await;
    check(&settings(Some("acme"), Some(TOKEN)), true, "is the right volume mounted?").await;
}

#[tokio::test]
async fn the_first_rows_are_inserted_once() {
    let store = MemoryStore::default();
    let mut entropy = SystemEntropy::seeded().expect("randomness");
    let keyring = keyring(&mut entropy);
    let first = settings(Some("acme"), Some(TOKEN));
    let beginning = decide(&store, &first, false).await.expect("decided");
    begin(&store, &keyring, beginning, &mut entropy, NOW).await.expect("begun");
    let holder = store.find_token(keyring.token_hash(TOKEN)).await.expect("asked").expect("found");
    assert!(holder.token.is_operator && holder.user.is_some_and(|user| user.is_operator));
    let second = settings(Some("other"), Some("another"));
    let decided = decide(&store, &second, true).await.expect("decided");
    assert!(matches!(decided, Beginning::InUse));
}

fn developer<'a>(store: &'a dyn Store, keyring: &'a Keyring, organization: &str) -> Developer<'a> {
    let organization = OrganizationName::parse(organization).expect("a name");
    Developer { store, keyring, organization, login: Login::parse("dev").expect("a login"), now: NOW }
}

#[tokio::test]
async fn a_developer_has_what_is_needed_in_a_store_of_ones_own() {
    let store = MemoryStore::default();
    let mut entropy = SystemEntropy::seeded().expect("randomness");
    let keyring = keyring(&mut entropy);
    for organization in ["acme", "acme", "beta"] {
        let token = developer(&store, &keyring, organization).prepare(&mut entropy).await.expect("prepared");
        let hash = keyring.token_hash(token.secret.expose());
        let holder = store.find_token(hash).await.expect("asked").expect("found");
        let is_admin = |held: &HeldMembership| {
            held.organization.name.as_str() == organization && held.role == Role::Admin
        };
        assert!(holder.memberships.iter().any(is_admin), "{organization}");
        assert_eq!(holder.token.expires_at, Some(NOW.after(Duration::from_secs(86_400))));
        token.revoke(&store, NOW, &mut entropy).await.expect("revoked");
        assert_eq!(store.find_token(hash).await.expect("asked"), None);
    }
    assert_eq!(store.list_organizations(None, 10).await.expect("asked").len(), 2);
    assert_eq!(store.list_users(None, 10).await.expect("asked").len(), 1);
}

#[tokio::test]
async fn a_developer_keeps_out_of_what_others_made() {
    let mut entropy = SystemEntropy::seeded().expect("randomness");
    let keyring = keyring(&mut entropy);
    let check = async |login: &str, organization: &str, expected: &str| {
        let store = MemoryStore::default();
        let (mut entropy, login) =
            (SystemEntropy::seeded().expect("randomness"), Login::parse(login).expect("a login"));
        let acme = OrganizationName::parse("acme").expect("a name");
        let first = bootstrap(acme, login, TOKEN, &keyring, NOW, &mut entropy);
        let theirs = first.organization.clone();
        store.bootstrap(first).await.expect("begun");
        let other = Organization {
            id: OrganizationId::generate(NOW, &mut entropy),
            name: OrganizationName::parse("theirs").expect("a name"),
            ..theirs
        };
        let entry = audit(NOW, "organization.create", String::new(), None, &mut entropy);
        store.create_organization(&other, None, entry).await.expect("created");
        let prepared = developer(&store, &keyring, organization).prepare(&mut entropy).await;
        let refused = prepared.err().expect("refused").to_string();
        assert!(refused.contains(expected), "{refused}");
    };
    check("admin", "acme", "it has no user 'dev'").await;
    check("admin", "new", "it has no user 'dev'").await;
    check("dev", "theirs", "'dev' is not its admin").await;
}
