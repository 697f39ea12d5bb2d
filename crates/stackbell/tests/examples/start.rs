//! The errors of an example that cannot be started.

use crate::process::Example;

pub(crate) async fn refuses_what_it_cannot_use(example: &Example) {
    for (secret, arguments, expected) in [
        ("", "0", "WEBHOOK_SECRET"),
        ("whsec_", "0", "WEBHOOK_SECRET"),
        ("whsec_not base64!", "0", "not base64"),
        ("a secret", "0 neither", "standard"),
        ("a secret", "port", "port"),
        ("a secret", "0 standard more", "usage"),
    ] {
        let (status, said) = example.refusal(secret, arguments).await;
        assert!(!status.success(), "{secret:?} {arguments}: {said}");
        assert!(said.to_lowercase().contains(&expected.to_lowercase()), "{secret:?} {arguments}: {said}");
    }
}
