//! Names by way of DNS.
//!
//! The system's own resolver would do but for two things: it holds a thread for each name until it gives up, so that names
//! that hang, which anybody can make, would keep everybody else's from being looked up (invariant 5); and it does not say
//! how long an answer holds, so that it would be asked at each connect.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};

use super::resolve::{Resolve, ResolveError};

/// What says whom to ask, and what need not be asked.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// How many answers are kept, each for as long as it says: a few megabytes.
const ANSWERS_MAX: u64 = 8192;

/// How long it is kept that there is no such name, whatever the answer says: somebody may be about to mend that.
const NO_NAME_TIME_MAX: Duration = Duration::from_secs(10);

/// The resolver: what `/etc/hosts` says, else what the servers of `/etc/resolv.conf` answer, for as long as that holds.
///
/// Both files are read again when they have changed. Where there are no such files it asks nobody, and knows only what every
/// machine calls itself. Other sources of names, as `nsswitch.conf` may have, are not looked at.
#[derive(Debug, Default)]
pub struct DnsResolver {
    current: Mutex<Option<Current>>,
}

/// What was read of the files.
#[derive(Clone)]
struct Current {
    /// When each was changed before that.
    changed_at: [Option<SystemTime>; FILES.len()],
    names: Arc<Names>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("changed_at", &self.changed_at).finish_non_exhaustive()
    }
}

impl DnsResolver {
    /// Looking when a file was changed takes no time to speak of; names are looked up for new connections alone.
    fn names(&self) -> Arc<Names> {
        let changed_at = FILES.map(|file| std::fs::metadata(file).and_then(|found| found.modified()).ok());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(current) if current.changed_at == changed_at => Arc::clone(&current.names),
            Some(_) | None => {
                let names = Arc::new(Names::of_system());
                *current = Some(Current { changed_at, names: Arc::clone(&names) });
                names
            }
        }
    }
}

impl Resolve for DnsResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<SocketAddr>, ResolveError>> {
        let names = self.names();
        Box::pin(async move {
            let addresses = names.addresses(host).await?;
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        })
    }
}

struct Names {
    hosts: Hosts,
    resolver: TokioResolver,
}

impl Names {
    fn of_system() -> Self {
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::debug!(%error, "there is no file of hosts");
            Hosts::default()
        });
        let (config, options) = read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known which name servers to ask: hosts are found in /etc/hosts alone");
            (ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default())
        });
        Self::new(hosts, config, options)
    }

    fn new(hosts: Hosts, config: ResolverConfig, mut options: ResolverOpts) -> Self {
        // They are looked at before: who has an address of one family there is not asked for one of the other.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = ANSWERS_MAX;
        options.negative_max_ttl = Some(NO_NAME_TIME_MAX);
        // One server after the other, the quickest first: a lookup takes two sockets and no more.
        options.num_concurrent_reqs = 1;
        let provider = TokioRuntimeProvider::default();
        let builder = Resolver::builder_with_config(config, provider).with_options(options);
        Self { hosts, resolver: builder.build().expect("only TLS could fail, and there is none") }
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // URLs have names in ASCII; underscores, which hosts of containers have, are fine.
        let name = Name::from_ascii(host).map_err(|error| ResolveError::Lookup(io::Error::other(error)))?;
        let of_hosts = self.addresses_of_hosts(&name);
        if !of_hosts.is_empty() {
            return Ok(of_hosts);
        }
        match self.resolver.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_nx_domain() => Err(ResolveError::NoName),
            Err(error) if error.is_no_records_found() => Err(ResolveError::NoAddress),
            Err(error) => Err(ResolveError::Lookup(io_error(error))),
        }
    }

    fn addresses_of_hosts(&self, name: &Name) -> Vec<IpAddr> {
        let of = |family| self.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
        found
            .flat_map(|lookup| lookup.answers().to_vec())
            .filter_map(|record| record.data.ip_addr())
            .collect()
    }
}

/// The system's own errors stay what they are: some of them are our fault.
fn io_error(error: NetError) -> io::Error {
    match &error {
        NetError::Io(inner) => inner.raw_os_error().map(io::Error::from_raw_os_error),
        _ => None,
    }
    .unwrap_or_else(|| io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use futures_util::future::{Either, join_all, select};
    use hickory_resolver::config::NameServerConfig;
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record};
    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;

    use super::*;

    /// Far longer than an answer takes, and far shorter than it takes to give up.
    const SOON: Duration = Duration::from_secs(2);

    /// A name server, until it is dropped. What it says depends on the first label of a name.
    struct Server {
        names: Names,
        asked: Arc<Mutex<Vec<String>>>,
        _task: JoinSet<()>,
    }

    impl Server {
        async fn start(hosts: &str) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let address = socket.local_addr().expect("it is bound");
            let mut server = NameServerConfig::udp(address.ip());
            server.connections[0].port = address.port();
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let mut read = Hosts::default();
            read.read_hosts_conf(hosts.as_bytes()).expect("hosts");
            let asked = Arc::default();
            let mut task = JoinSet::new();
            task.spawn(serve(socket, Arc::clone(&asked)));
            Self { names: Names::new(read, config, ResolverOpts::default()), asked, _task: task }
        }

        /// How often it was asked for IPv4 addresses of a name.
        fn asked(&self, name: &str) -> usize {
            self.asked.lock().expect("not poisoned").iter().filter(|asked| *asked == name).count()
        }

        async fn check(&self, name: &str, expected: &[&str]) {
            let found = self.names.addresses(name).await.expect(name);
            let expected: Vec<IpAddr> = expected.iter().map(|one| one.parse().expect("an address")).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    async fn serve(socket: UdpSocket, asked: Arc<Mutex<Vec<String>>>) {
        let mut buffer = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.expect("a datagram");
            let question = Message::from_vec(&buffer[..length]).expect("a question");
            let query = question.queries[0].clone();
            let name = query.name().to_ascii();
            if query.query_type() == RecordType::A {
                asked.lock().expect("not poisoned").push(name.trim_end_matches('.').to_owned());
            }
            let answer = |seconds| match query.query_type() {
                RecordType::A => vec![Record::from_rdata(
                    query.name().clone(),
                    seconds,
                    RData::A("192.0.2.7".parse().expect("an address")),
                )],
                _ => Vec::new(),
            };
            let mut response = question.into_response();
            match name.split('.').next().unwrap_or_default() {
                "hangs" => continue,
                "nobody" => response.metadata.response_code = ResponseCode::NXDomain,
                "broken" => response.metadata.response_code = ResponseCode::ServFail,
                "empty" => {}
                "brief" => response.insert_answers(answer(0)),
                _ => response.insert_answers(answer(3600)),
            }
            socket.send_to(&response.to_vec().expect("bytes"), peer).await.expect("sent");
        }
    }

    #[tokio::test]
    async fn an_answer_is_kept_as_long_as_it_holds() {
        let server = Server::start("").await;
        for _ in 0..3 {
            server.check("long.example", &["192.0.2.7"]).await;
            server.check("brief.example", &["192.0.2.7"]).await;
            server.check("my_service.example", &["192.0.2.7"]).await;
        }
        assert_eq!(server.asked("long.example"), 1);
        assert_eq!(server.asked("brief.example"), 3);
    }

    #[tokio::test]
    async fn why_there_is_no_address_is_said() {
        let server = Server::start("").await;
        let error = async |name| server.names.addresses(name).await.expect_err("there is none");
        assert!(matches!(error("nobody.example").await, ResolveError::NoName));
        assert!(matches!(error("empty.example").await, ResolveError::NoAddress));
        assert!(matches!(error("broken.example").await, ResolveError::Lookup(_)));
    }

    #[tokio::test]
    async fn names_that_hang_hold_up_no_other() {
        let server = Server::start("").await;
        let names: Vec<_> = (0..300).map(|n| format!("hangs.{n}.example")).collect();
        let hanging = join_all(names.iter().map(|name| server.names.addresses(name)));
        let others = async {
            while server.asked.lock().expect("not poisoned").len() < names.len() {
                tokio::task::yield_now().await;
            }
            tokio::time::timeout(SOON, server.check("long.example", &["192.0.2.7"])).await.expect("in time");
        };
        match select(Box::pin(hanging), Box::pin(others)).await {
            Either::Left(_) => panic!("they hang"),
            Either::Right(((), _)) => {}
        }
    }

    #[tokio::test]
    async fn who_is_among_the_hosts_is_asked_for_nowhere_else() {
        let server = Server::start("10.1.2.3 hook.internal\nfd00::7 hook.internal six.internal").await;
        server.check("hook.internal", &["10.1.2.3", "fd00::7"]).await;
        server.check("six.internal", &["fd00::7"]).await;
        assert!(server.asked.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn without_servers_every_machine_still_knows_itself() {
        let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let names = Names::new(Hosts::default(), config, ResolverOpts::default());
        let found = names.addresses("localhost").await.expect("itself");
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(matches!(names.addresses("example.com").await, Err(ResolveError::Lookup(_))));
    }
}
