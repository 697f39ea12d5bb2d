//! The server's addresses, and the process that listens there.

use std::io;
use std::net::SocketAddr;

use stackbell_client::{Client, ClientSettings};
use stackbell_config::Settings;
use stackbell_server::bind;

use stackbell_system::local_url;

use super::{Fail, Finding, Fine, Report, Warn, failed, tls};

pub(super) async fn examine(
    settings: &Settings,
    is_running: bool,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let server = &settings.server;
    let (is_main_taken, found) = address(server.listen, "listen", is_running).await;
    report.add("listen", found)?;
    if let Some(ops_listen) = server.ops_listen {
        let (is_taken, found) = address(ops_listen, "ops-listen", is_running).await;
        report.add("ops listen", found)?;
        if is_taken {
            report.add("ready", ready(ops_listen).await)?;
        }
    }
    if !is_main_taken {
        return Ok(());
    }
    if let Some(files) = &server.tls {
        return report.add("presented", tls::presented(files, server.listen).await);
    }
    if server.ops_listen.is_none() {
        report.add("ready", ready(server.listen).await)?;
    }
    Ok(())
}

/// Whether a process listens at the address.
async fn address(address: SocketAddr, flag: &str, is_running: bool) -> (bool, Finding) {
    let error = match bind(address, flag) {
        Ok(_) if is_running => {
            let text = format!(
                "{address} is free, although a process uses the data folder: that process listens at another address"
            );
            return (false, Warn(text));
        }
        Ok(_) => return (false, Fine(format!("{address} is free"))),
        Err(error) => error,
    };
    let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
    match (cause == Some(io::ErrorKind::AddrInUse), is_running) {
        (true, true) => (true, Fine(format!("a process listens at {address}"))),
        // The process at the address does not use this data folder.
        (true, false) => {
            let text = format!(
                "a process that does not use this data folder listens at {address}: choose another with --{flag}"
            );
            (true, Warn(text))
        }
        (false, _) => (false, failed(error)),
    }
}

/// Asks the listener at the address whether the server is ready.
async fn ready(address: SocketAddr) -> Finding {
    let url = local_url(address, false);
    let client = match Client::new(ClientSettings { url, token: None, ca_file: None }) {
        Ok(client) => client,
        Err(error) => return failed(error),
    };
    let answered = tokio::task::spawn_blocking(move || client.is_ready()).await;
    match answered {
        Ok(Ok(Ok(()))) => Fine(format!("a server at {address} says that it is ready")),
        Ok(Ok(Err(status))) => Fail(format!("the process at {address} responds to /readyz with {status}")),
        Ok(Err(error)) => {
            Fail(format!("the process at {address} does not respond: {:#}", anyhow::Error::new(error)))
        }
        Err(error) => failed(error),
    }
}
