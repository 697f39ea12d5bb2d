//! What chat services are sent: the samples of every filter as golden files, and what holds of any message.

mod golden;
mod properties;
mod support;
mod told;
