//! Name resolution like that of the system's libc, tested in a network namespace with its own `/etc/resolv.conf`, `/etc/hosts`
//! and name servers at port 53.
//!
//! This needs Linux, root, `ip` (iproute2), `unshare` and `mount` (util-linux), and glibc's `getent`. `./test` runs these tests
//! if these requirements are met, and otherwise reports that it does not.

mod deliveries;
mod lookups;
mod name_server;
mod network;
