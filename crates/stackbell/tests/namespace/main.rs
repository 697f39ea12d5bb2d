//! Names as the system's libc resolves them, in a network of the tests' own: with its own `/etc/resolv.conf`, `/etc/hosts` and
//! name servers at port 53.
//!
//! That takes Linux, root, `ip` (iproute2), `unshare` and `mount` (util-linux), and glibc's `getent`. `./test` runs these tests
//! where it may, and says so where it may not.

mod deliveries;
mod lookups;
mod name_server;
mod network;
