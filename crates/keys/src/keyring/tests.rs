use super::*;
use crate::testing::Seeded;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

struct Bench {
    entropy: Seeded,
    master: MasterKey,
    keyring: Keyring,
    stored: Vec<SealedDataKey>,
}

fn bench() -> Bench {
    let mut entropy = Seeded(42);
    let master = MasterKey::generate(&mut entropy);
    let (keyring, stored) = Keyring::generate(&master, &mut entropy, NOW);
    Bench { entropy, master, keyring, stored }
}

fn secret(text: &str) -> WebhookSecret {
    WebhookSecret::new(text).expect("short enough")
}

fn opened(keyring: &Keyring, sealed: &Sealed, context: &[u8]) -> Result<Vec<u8>, OpenError> {
    keyring.open_sealed(sealed, context).map(|plain| plain.to_vec())
}

#[track_caller]
fn check_open(master: &MasterKey, stored: &[SealedDataKey], expected: Result<(), KeyringError>) {
    assert_eq!(Keyring::open(master, stored).map(|_| ()), expected);
}

#[test]
fn stores_one_key_for_each_purpose() {
    let Bench { stored, .. } = bench();
    let purposes: Vec<_> = stored.iter().map(|key| key.purpose).collect();
    assert_eq!(purposes, Purpose::ALL);
    assert!(stored.iter().all(|key| key.created_at == NOW));
}

#[test]
fn opens_what_was_stored_in_any_order() {
    let Bench { master, mut stored, keyring, mut entropy } = bench();
    let sealed = keyring.seal(b"plain", b"place", &mut entropy);
    stored.reverse();
    let reopened = Keyring::open(&master, &stored).expect("opens");
    assert_eq!(opened(&reopened, &sealed, b"place"), Ok(b"plain".to_vec()));
    assert_eq!(reopened.token_hash("token"), keyring.token_hash("token"));
}

#[test]
fn tells_a_wrong_master_key_from_a_damaged_row() {
    let Bench { master, stored, mut entropy, .. } = bench();
    check_open(&MasterKey::generate(&mut entropy), &stored, Err(KeyringError::WrongMasterKey));
    for index in 0..stored.len() {
        let mut damaged = stored.clone();
        damaged[index].bytes[30] ^= 1;
        check_open(&master, &damaged, Err(KeyringError::Damaged(stored[index].id)));
    }
}

#[test]
fn refuses_a_key_with_anothers_id_or_purpose() {
    let Bench { master, stored, .. } = bench();
    let mut other_purpose = stored.clone();
    other_purpose[0].purpose = Purpose::TokenHash;
    check_open(&master, &other_purpose, Err(KeyringError::Damaged(stored[0].id)));
    let mut exchanged = stored.clone();
    exchanged[1].id = stored[2].id;
    check_open(&master, &exchanged, Err(KeyringError::Damaged(stored[2].id)));
}

#[test]
fn wants_a_key_for_every_purpose() {
    let Bench { master, stored, .. } = bench();
    check_open(&master, &[], Err(KeyringError::Missing(Purpose::Seal)));
    for missing in Purpose::ALL {
        let rest: Vec<_> = stored.iter().filter(|key| key.purpose != *missing).cloned().collect();
        check_open(&master, &rest, Err(KeyringError::Missing(*missing)));
    }
}

#[test]
fn wants_one_key_where_hashes_do_not_say_theirs() {
    let Bench { master, stored, mut entropy, .. } = bench();
    let (_, more) = Keyring::generate(&master, &mut entropy, NOW);
    for (purpose, expected) in [
        (Purpose::Seal, Ok(())),
        (Purpose::TokenHash, Err(KeyringError::Ambiguous(Purpose::TokenHash))),
        (Purpose::Fingerprint, Err(KeyringError::Ambiguous(Purpose::Fingerprint))),
    ] {
        let second = more.iter().filter(|key| key.purpose == purpose).cloned();
        let both: Vec<_> = stored.iter().cloned().chain(second).collect();
        check_open(&master, &both, expected);
    }
}

#[test]
fn the_youngest_key_seals_and_every_key_opens() {
    let Bench { master, stored, mut entropy, keyring } = bench();
    let (_, more) = Keyring::generate(&master, &mut entropy, NOW.after(std::time::Duration::from_millis(1)));
    let younger = more.into_iter().find(|key| key.purpose == Purpose::Seal).expect("made");
    let old = keyring.seal(b"old", b"place", &mut entropy);
    let both: Vec<_> = std::iter::once(younger.clone()).chain(stored).collect();
    let keyring = Keyring::open(&master, &both).expect("opens");
    assert_eq!(opened(&keyring, &old, b"place"), Ok(b"old".to_vec()));
    assert_eq!(keyring.seal(b"new", b"place", &mut entropy).key, younger.id);
}

#[test]
fn opens_only_in_the_place_it_was_sealed_for() {
    let Bench { keyring, mut entropy, .. } = bench();
    for plain in [&b""[..], b"x", &[0; 5000]] {
        let sealed = keyring.seal(plain, b"here", &mut entropy);
        assert_eq!(opened(&keyring, &sealed, b"here"), Ok(plain.to_vec()));
        assert_eq!(opened(&keyring, &sealed, b"there"), Err(OpenError::Refused));
        assert_eq!(opened(&keyring, &sealed, b""), Err(OpenError::Refused));
    }
}

#[test]
fn refuses_every_changed_or_missing_byte() {
    let Bench { keyring, mut entropy, .. } = bench();
    let sealed = keyring.seal(b"plain", b"place", &mut entropy);
    for index in 0..sealed.bytes.len() {
        let mut changed = sealed.clone();
        changed.bytes[index] ^= 0x80;
        assert_eq!(opened(&keyring, &changed, b"place"), Err(OpenError::Refused), "byte {index}");
        let cut = Sealed { key: sealed.key, bytes: sealed.bytes[..index].into() };
        assert_eq!(opened(&keyring, &cut, b"place"), Err(OpenError::Refused), "cut at {index}");
    }
}

#[test]
fn names_a_data_key_that_is_not_there() {
    let Bench { keyring, mut entropy, .. } = bench();
    let sealed = keyring.seal(b"plain", b"place", &mut entropy);
    let key = DataKeyId::generate(&mut entropy);
    let other = Sealed { key, ..sealed };
    assert_eq!(opened(&keyring, &other, b"place"), Err(OpenError::UnknownKey(key)));
}

#[test]
fn sealing_twice_gives_different_bytes_without_the_plaintext() {
    let Bench { keyring, mut entropy, .. } = bench();
    let plain = b"a secret of some length";
    let (first, second) =
        (keyring.seal(plain, b"place", &mut entropy), keyring.seal(plain, b"place", &mut entropy));
    assert_ne!(first.bytes, second.bytes);
    assert!(!first.bytes.windows(8).any(|window| plain.starts_with(window)));
}

#[test]
fn a_webhooks_secret_is_of_no_use_to_another() {
    let Bench { keyring, mut entropy, .. } = bench();
    let webhook = WebhookId::generate(NOW, &mut entropy);
    let other = WebhookId::generate(NOW, &mut entropy);
    let sealed = keyring.seal_secret(webhook, &secret("pässword"), &mut entropy);
    assert_eq!(keyring.open_secret(webhook, &sealed), Ok(secret("pässword")));
    assert_eq!(keyring.open_secret(other, &sealed), Err(OpenError::Refused));
    assert_eq!(opened(&keyring, &sealed, webhook.as_uuid().as_bytes()), Err(OpenError::Refused));
    let not_text = keyring.seal(&[0xff], &secret_context(webhook), &mut entropy);
    assert_eq!(keyring.open_secret(webhook, &not_text), Err(OpenError::NotASecret));
}

#[test]
fn rotation_changes_nothing_but_the_master_key() {
    let Bench { keyring, stored, master, mut entropy } = bench();
    let webhook = WebhookId::generate(NOW, &mut entropy);
    let sealed = keyring.seal_secret(webhook, &secret("s"), &mut entropy);

    let new_master = MasterKey::generate(&mut entropy);
    let rewrapped = keyring.rewrap(&new_master, &mut entropy);
    let identity = |keys: &[SealedDataKey]| -> Vec<_> {
        keys.iter().map(|key| (key.id, key.purpose, key.created_at)).collect()
    };
    assert_eq!(identity(&rewrapped), identity(&stored));
    check_open(&master, &rewrapped, Err(KeyringError::WrongMasterKey));

    let rotated = Keyring::open(&new_master, &rewrapped).expect("opens");
    assert_eq!(rotated.open_secret(webhook, &sealed), Ok(secret("s")));
    assert_eq!(rotated.fingerprint(webhook, &secret("s")), keyring.fingerprint(webhook, &secret("s")));
    assert_eq!(rotated.token_hash("t"), keyring.token_hash("t"));
}

#[test]
fn a_fingerprint_changes_with_secret_webhook_and_key() {
    let Bench { keyring, master, mut entropy, .. } = bench();
    let webhook = WebhookId::generate(NOW, &mut entropy);
    let other = WebhookId::generate(NOW, &mut entropy);
    let (another, _) = Keyring::generate(&master, &mut entropy, NOW);
    let fingerprint = keyring.fingerprint(webhook, &secret("s"));
    assert_eq!(fingerprint, keyring.fingerprint(webhook, &secret("s")));
    assert_ne!(fingerprint, keyring.fingerprint(webhook, &secret("t")));
    assert_ne!(fingerprint, keyring.fingerprint(other, &secret("s")));
    assert_ne!(fingerprint, another.fingerprint(webhook, &secret("s")));
}

#[test]
fn tokens_of_any_form_are_hashed_each_to_its_own() {
    let Bench { keyring, .. } = bench();
    let hash = keyring.token_hash("chosen by a person");
    assert_eq!(hash, keyring.token_hash("chosen by a person"));
    assert_ne!(hash, keyring.token_hash("chosen by another person"));
    assert_ne!(hash, keyring.token_hash(""));
}

/// The expected value was computed by another implementation (the hmac module of Python).
#[test]
fn hashes_are_hmac_sha_256() {
    let key = DataKey {
        id: DataKeyId::generate(&mut Seeded(0)),
        purpose: Purpose::TokenHash,
        created_at: NOW,
        bytes: crate::cipher::KeyBytes::from_slice(&[0x0b; 32]).expect("32 bytes"),
    };
    assert_eq!(
        hex::encode(hmac(&key, &[b"Hi ", b"There"])),
        "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"
    );
}

#[test]
fn debug_shows_no_key_and_no_secret() {
    let Bench { keyring, master, stored, mut entropy } = bench();
    let sealed = keyring.seal(b"plain", b"place", &mut entropy);
    let shown = format!("{keyring:?} {master:?} {:?} {stored:?} {sealed:?}", keyring.seal);
    for key in keyring.seal.iter().chain([&keyring.token_hash, &keyring.fingerprint]) {
        assert!(!shown.contains(&format!("{:?}", key.bytes.expose())), "{shown}");
        assert!(!shown.contains(&hex::encode(key.bytes.expose())), "{shown}");
    }
    assert!(
        !shown.contains(&format!("{:?}", &stored[0].bytes[..4]).trim_matches(['[', ']']).to_owned()),
        "{shown}"
    );
}

#[test]
fn a_deployments_token_opens_for_its_organization_alone() {
    let Bench { keyring, mut entropy, .. } = bench();
    let (one, other) =
        (OrganizationId::generate(NOW, &mut entropy), OrganizationId::generate(NOW, &mut entropy));
    let sealed = keyring.seal_deployments_token(one, "pul-0123", &mut entropy);
    let opened = |organization| {
        keyring.open_deployments_token(organization, &sealed).map(|token| token.as_str().to_owned())
    };
    assert_eq!(opened(one), Ok("pul-0123".to_owned()));
    assert_eq!(opened(other), Err(OpenError::Refused));
    let context = deployments_context(one);
    let no_text = keyring.seal(&[0xff], &context, &mut entropy);
    assert_eq!(keyring.open_deployments_token(one, &no_text).err(), Some(OpenError::NotAToken));
    // A value sealed for a webhook with the same id is not a token.
    let secret = keyring.seal_secret(WebhookId::from_uuid(*one.as_uuid()), &secret("s"), &mut entropy);
    assert_eq!(keyring.open_deployments_token(one, &secret).err(), Some(OpenError::Refused));
}
