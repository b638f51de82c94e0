//! What is played on both stages.

mod crashes;
mod ends;
mod execs;
mod failures;
mod loggers;
mod pauses;
mod pods;
mod resources;
mod starts;
mod streams;
mod terminals;
mod unknown;

use coaming_integration::Error;

use crate::stage::Stage;

/// One play.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) play: fn(&Stage<'_>) -> Result<(), Error>,
}

pub(crate) fn all() -> Vec<Scenario> {
    [
        starts::ALL,
        ends::ALL,
        execs::ALL,
        failures::ALL,
        unknown::ALL,
        pauses::ALL,
        streams::ALL,
        loggers::ALL,
        terminals::ALL,
        resources::ALL,
        pods::ALL,
        crashes::ALL,
    ]
    .concat()
}

const fn scenario(name: &'static str, play: fn(&Stage<'_>) -> Result<(), Error>) -> Scenario {
    Scenario { name, play }
}
