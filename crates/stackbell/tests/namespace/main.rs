//! Names as the system's libc resolves them, in a network namespace with its own `/etc/resolv.conf`, `/etc/hosts` and name
//! servers at port 53.
//!
//! This needs Linux, root, `ip` (iproute2), `unshare` and `mount` (util-linux), and glibc's `getent`. `./test` runs these
//! tests if it can, and reports if it cannot.

mod deliveries;
mod lookups;
mod name_server;
mod network;
