use super::testing::{Authority, Files, Made};
use super::*;

struct Bench {
    authority: Authority,
    files: Files,
    certificates: Certificates,
    served: Made,
}

impl Bench {
    fn new() -> Self {
        let authority = Authority::new();
        let served = authority.issue(2100);
        let files = Files::new(&served);
        let certificates = Certificates::load(files.files.clone()).expect("a pair");
        Self { authority, files, certificates, served }
    }

    #[track_caller]
    fn check(&self, is_whole: bool, expected: Look, served: &Made) {
        assert_eq!(self.certificates.look(is_whole), expected);
        assert_eq!(self.certificates.lock().pair.leaf(), served.certificate.der());
    }
}

#[test]
fn changed_files_are_loaded_once_they_were_seen_twice() {
    let bench = Bench::new();
    let next = bench.authority.issue(2101);
    bench.check(false, Look::Same, &bench.served);
    bench.files.write_certificate(&next);
    bench.check(false, Look::Changing, &bench.served);
    bench.files.write_key(&next);
    bench.check(false, Look::Changing, &bench.served);
    bench.check(false, Look::Taken, &next);
    bench.check(false, Look::Same, &next);
}

#[test]
fn a_reload_takes_changed_files_at_once() {
    let bench = Bench::new();
    let next = bench.authority.issue(2101);
    bench.files.write(&next);
    bench.check(true, Look::Taken, &next);
    bench.check(true, Look::Same, &next);
}

#[test]
fn an_unusable_pair_keeps_the_previous_one() {
    let bench = Bench::new();
    let next = bench.authority.issue(2101);
    bench.files.write_key(&next);
    bench.check(false, Look::Changing, &bench.served);
    for _ in 0..2 {
        bench.check(false, Look::Refused, &bench.served);
    }
    bench.check(true, Look::Refused, &bench.served);
    std::fs::remove_file(&bench.files.files.key).expect("removed");
    bench.check(false, Look::Refused, &bench.served);
    bench.files.write(&bench.served);
    bench.check(false, Look::Same, &bench.served);
    bench.files.write(&next);
    bench.check(false, Look::Changing, &bench.served);
    bench.check(false, Look::Taken, &next);
}

#[test]
fn how_long_it_is_good() {
    let bench = Bench::new();
    let pair = Pair::load(&bench.files.files).expect("a pair");
    // 2100-12-31T00:00:00Z
    assert_eq!(pair.ends_at(), Timestamp::from_millis(4_133_894_400_000));
    assert!(pair.begins_at() < pair.ends_at());
}

#[test]
fn unusable_pairs() {
    let check = |spoil: &dyn Fn(&Bench), expected: &str| {
        let bench = Bench::new();
        spoil(&bench);
        let error = Certificates::load(bench.files.files.clone()).map(|_| ()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    };
    let write = |path: &PathBuf, text: &str| std::fs::write(path, text).expect("written");
    check(&|bench| std::fs::remove_file(&bench.files.files.key).expect("removed"), "tls_key: cannot read");
    check(&|bench| write(&bench.files.files.certificate, "hidden"), "tls_cert: ");
    check(&|bench| write(&bench.files.files.key, "hidden"), "holds no PEM of a private key");
    check(&|bench| bench.files.write_key(&bench.authority.issue(2100)), "are not a usable pair");
    let damaged = "-----BEGIN CERTIFICATE-----\naGlkZGVu\n-----END CERTIFICATE-----\n";
    check(&|bench| write(&bench.files.files.certificate, damaged), "is damaged");
}
