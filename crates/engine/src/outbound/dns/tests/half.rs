//! Hosts whose name server answers for only one family, with addresses that the outbound policy forbids.

use super::*;
use crate::outbound::connect::ConnectError;
use crate::outbound::dial::Dialer;

/// A dialer that may only reach public addresses. The name server answers with none of these.
fn dialer(server: &Server, time: Duration) -> Dialer {
    let missing = PathBuf::from("no such file");
    let files = Files { resolv_conf: missing.clone(), hosts: missing };
    let current = Current {
        found: Some(Ok(Arc::clone(&server.names))),
        stamps: Stamps::Read([None; 2]),
        looked_at: None,
    };
    let resolver = DnsResolver { files, current: Mutex::new(current), ..DnsResolver::default() };
    Dialer { rules: Arc::default(), resolver: Arc::new(resolver), reachability: Arc::default(), time }
}

/// Dials twice, and again after the time for which failures are cached. Each error must end with `reason`.
async fn check(conf: &str, time: Duration, host: &str, reason: &str) {
    let server = Server::with(conf).await;
    let dialer = dialer(&server, time);
    let mut counts = Vec::new();
    let mut reasons = Vec::new();
    for wait in [0, 1, 3] {
        pass(Duration::from_secs(wait)).await;
        let Err(ConnectError::Forbidden(refusals)) = dialer.dial(host, 443).await else {
            panic!("{host} must be forbidden")
        };
        counts.push(server.asked(host));
        reasons.push(refusals.to_string());
    }
    assert_eq!(counts[0], counts[1], "{host}: a failure is kept for two seconds");
    assert!(counts[2] > counts[1], "{host}: {counts:?}, and not for longer");
    for text in reasons {
        assert!(text.starts_with("192.0.2.1 (") || text.starts_with("2001:db8::1 ("), "{text}");
        assert!(text.ends_with(&format!("; {reason}")), "{text}");
    }
}

const FAILED: &str = "the AAAA question was not answered: the name servers failed (SERVFAIL)";
const SILENT: &str = "the AAAA question was not answered: no name server answered in time";

const LONG: Duration = Duration::from_secs(7);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_forbidden_half_answer_is_kept_as_long_as_a_failure() {
    let failed4 = "the A question was not answered: the name servers failed (SERVFAIL)";
    let refused = "the AAAA question was not answered: the name servers refused it (REFUSED)";
    let silent4 = "the A question was not answered: no name server answered in time";
    check("", LONG, "half.example", failed4).await;
    check("", LONG, "refused6.example", refused).await;
    check("options timeout:1 attempts:1\n", LONG, "mute6.example", SILENT).await;
    check("options timeout:1 attempts:1\n", LONG, "mute4.example", silent4).await;
    check("", SHORT, "mute6.example", SILENT).await;
}

#[tokio::test]
async fn a_late_failure_is_said_from_then_on() {
    let (slow, address) = Slow::start().await;
    let mut conf = ResolvConf::parse("options attempts:1\n", "box", |_| None);
    conf.servers = vec![address];
    let names = Arc::new(Names::new(Hosts::default(), conf));
    let questions = async {
        let mut questions = [slow.question().await, slow.question().await];
        questions.sort_by_key(|(question, _)| question.queries[0].query_type() == RecordType::AAAA);
        let [v4, v6] = questions;
        slow.answer(v4).await;
        v6
    };
    let (found, question) = tokio::join!(names.addresses("late.example"), questions);
    let found = found.expect("one family is answered");
    assert_eq!(found.unanswered.expect("one is not").to_string(), SILENT);
    slow.fail(question).await;
    assert_eq!(found.later.expect("it is awaited").await.expect_err("it failed").to_string(), FAILED);
    let found = names.addresses("late.example").await.expect("one family is answered");
    assert_eq!(found.unanswered.expect("one is not").to_string(), FAILED);
    assert!(found.later.is_none());
}

#[tokio::test]
async fn a_forbidden_whole_answer_is_kept_as_long_as_it_holds() {
    let server = Server::start().await;
    let dialer = dialer(&server, LONG);
    for wait in [0, 3, 61] {
        pass(Duration::from_secs(wait)).await;
        let Err(ConnectError::Forbidden(refusals)) = dialer.dial("lasting.example", 443).await else {
            panic!("it must be forbidden")
        };
        assert!(!refusals.to_string().contains("question"), "{refusals}");
    }
    assert_eq!(server.asked("lasting.example"), 2);
}
