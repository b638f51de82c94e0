//! The service over its socket, with a runtime that is a script. Everything but the runtime is real: the ttrpc server, the
//! events, the reaper, processes that exit.

mod exits;
mod life;
mod refusals;
mod world;
