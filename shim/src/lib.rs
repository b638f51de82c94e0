//! The gate and its doors: what stands between those who start containers and the runtime.

pub mod argv;
pub mod bundle;
pub mod exec_process;
pub mod family;

mod ownership;
