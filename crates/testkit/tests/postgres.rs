//! The throw-away PostgreSQL has the properties on which tests rely.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use stackbell_testkit::{Postgres, PostgresSettings, Replication, Stop, wait};

/// Set in the process that the test kills.
const TO_BE_KILLED: &str = "STACKBELL_TO_BE_KILLED";

const FILL: &str = "CREATE TABLE facts (text text); INSERT INTO facts VALUES ('filled')";
const FACTS: &str = "SELECT text FROM facts ORDER BY text";

async fn filled(server: Postgres, url: String) {
    let name = url.rsplit('/').next().expect("a name").to_owned();
    server.psql(&name, FILL).await;
}

#[tokio::test]
async fn databases_are_copies_of_their_own_that_go() {
    let server = Postgres::shared().await;
    let fill = |url| filled(server.clone(), url);
    let one = server.database_like("facts", fill).await;
    let (two, three) = tokio::join!(
        server.database_like("facts", |_| async { panic!("it is filled once") }),
        server.database_like("facts", |_| async { panic!("it is filled once") }),
    );
    one.psql("INSERT INTO facts VALUES ('one')");
    for (database, expected) in [(&one, "filled\none"), (&two, "filled"), (&three, "filled")] {
        assert_eq!(database.psql(FACTS), expected);
    }
    let name = one.name().to_owned();
    drop(one);
    let problem = server.try_psql(&name, FACTS).await.expect_err("it is gone");
    assert!(problem.contains("does not exist"), "{problem}");
}

#[tokio::test]
async fn a_server_keeps_what_it_committed_when_it_crashes() {
    let server = Postgres::start(PostgresSettings::default().with("synchronous_commit", "on")).await;
    server.psql("postgres", FILL).await;
    for how in [Stop::Immediate, Stop::Fast] {
        server.stop(how).await;
        server.try_psql("postgres", FACTS).await.expect_err("nobody is there");
        server.start_again().await;
        assert_eq!(server.psql("postgres", FACTS).await, "filled");
    }
    assert!(server.log().contains("automatic recovery in progress"), "{}", server.log());
}

#[tokio::test]
async fn a_promoted_standby_has_what_its_primary_committed() {
    let primary = Postgres::start(PostgresSettings::default()).await;
    let standby = primary.standby(Replication::Synchronous).await;
    primary.psql("postgres", FILL).await;
    standby.try_psql("postgres", "INSERT INTO facts VALUES ('no')").await.expect_err("it only follows");
    primary.stop(Stop::Immediate).await;
    standby.promote().await;
    standby.psql("postgres", "INSERT INTO facts VALUES ('later')").await;
    assert_eq!(standby.psql("postgres", FACTS).await, "filled\nlater");
}

#[tokio::test]
async fn nothing_is_left_of_a_process_that_was_killed() {
    #[expect(clippy::disallowed_methods, reason = "the test is its own child, and is told so")]
    if std::env::var_os(TO_BE_KILLED).is_some() {
        let server = Postgres::start(PostgresSettings::default()).await;
        println!("\nserver {} {}", server.port(), server.psql("postgres", "SHOW data_directory").await);
        return std::future::pending().await;
    }
    let mut command = Command::new(std::env::current_exe().expect("this"));
    command.args(["--exact", "nothing_is_left_of_a_process_that_was_killed", "--nocapture"]);
    let mut child = command.env(TO_BE_KILLED, "1").stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let said = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("server ").map(str::to_owned));
    child.kill().expect("it runs");
    child.wait().expect("it was ours");
    let said = said.expect("it had a server");
    let (port, folder) = said.split_once(' ').expect("two words");
    let address = (Ipv4Addr::LOCALHOST, port.parse().expect("a port"));
    wait::until("the end of the server", || async {
        (TcpStream::connect(address).is_err() && !Path::new(folder).exists()).then_some(())
    })
    .await;
}
