//! Messages for chat services: golden files for the sample of every filter, and properties of any message.

mod golden;
mod properties;
mod support;
mod told;
