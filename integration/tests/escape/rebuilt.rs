//! Holds every known escape against what it does without coaming.

use coaming_integration::{Door, Error};

use crate::drive::Side;
use crate::ground::Ground;
use crate::known::{ALL, Known};
use crate::matrix::Outcome;
use crate::stage::Stage;

/// What became of one.
pub(crate) struct Rebuilt {
    pub(crate) known: &'static Known,
    pub(crate) outcome: Outcome,
}

/// All of them; and what is not as it should be, a line each.
///
/// # Errors
/// The harness's own.
pub(crate) fn hold(ground: &Ground) -> Result<(Vec<Rebuilt>, Vec<String>), Error> {
    let (mut rows, mut surprises) = (Vec::new(), Vec::new());
    for known in ALL {
        ground.enforce(known.floor, known.policy)?;
        let (outcome, wrong) = one(ground, known).unwrap_or_else(|why| {
            (Outcome::Unclear(why.to_string()), Some(format!("it could not be tried: {why}")))
        });
        surprises.extend(wrong.map(|wrong| format!("{}: {wrong}", known.name)));
        rows.push(Rebuilt { known, outcome });
    }
    Ok((rows, surprises))
}

fn one(ground: &Ground, known: &'static Known) -> Result<(Outcome, Option<String>), Error> {
    let runtime = ground.node.config().runtime;
    let (before, said) = (known.act)(&Stage::new(ground, known.name, Side::Stock))?;
    if before != (known.works)(runtime) {
        let wrong = format!("without coaming it works: {before}; {said:?}");
        return Ok((Outcome::Unclear(wrong.clone()), Some(wrong)));
    }
    let coaming = Side::Coaming(Door::Wrapper);
    let (after, said) = (known.act)(&Stage::new(ground, known.name, coaming))?;
    if after {
        return Ok((Outcome::Through, Some(format!("GOT THROUGH: {said:?}"))));
    }
    let silent: Vec<_> =
        known.refused.iter().filter(|word| !said.stderr.contains(**word)).collect();
    let wrong = if !known.refused.is_empty() && said.success() {
        Some(format!("it is not refused: {said:?}"))
    } else if silent.is_empty() {
        None
    } else {
        Some(format!("no {silent:?} in: {said:?}"))
    };
    let outcome = match before {
        true if known.refused.is_empty() => Outcome::Stopped("without effect".to_owned()),
        true => Outcome::Stopped("refused".to_owned()),
        false => Outcome::NotShown(known.otherwise.to_owned()),
    };
    Ok((outcome, wrong))
}
