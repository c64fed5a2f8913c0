//! What the notification channels promise, tried against real servers on loopback that speak each channel's protocol:
//! they answer, refuse, stall, close early, and never come to an end.
//!
//! Nothing sleeps for effect: a server that stalls waits until its client has given up, and the client's limits are set
//! short.

mod config;
mod email;
mod gateways;
mod http;
mod http_server;
mod pagerduty;
mod privacy;
mod slack;
mod smtp_server;
mod support;
mod templates;
