//! Evaluation, in a bounded number of steps.

use serde_json::Value;

use super::program::{Node, Order, Part, Program, Quantifier};
use super::value::{Fault, Val};
use super::variables::{Choice, Values};
use super::{MAX_STEPS, Outcome, Over};
use crate::facts::Facts;

/// Reads and evaluates an expression. The choices among contradicting values share one count of steps.
pub(super) fn outcome(text: &str, over: Over, facts: &Facts, spec: Option<&Value>) -> Outcome {
    let program = match Program::read(text, over) {
        Ok(program) => program,
        Err(message) => return Outcome::Fault(message),
    };
    let values = Values::of(&program.named, facts, spec);
    let mut steps = MAX_STEPS;
    let (mut holds, mut fails) = (false, false);
    for choice in values.choices() {
        let mut run = Run { values: &values, choice: &choice, steps, elements: Vec::new() };
        match run.node(&program.root).and_then(|value| value.flag()) {
            Ok(true) => holds = true,
            Ok(false) => fails = true,
            Err(fault) => return Outcome::Fault(fault.to_string()),
        }
        steps = run.steps;
    }
    match (holds, fails) {
        (true, false) => Outcome::True,
        (true, true) => Outcome::Contradictory,
        (false, _) => Outcome::False,
    }
}

struct Run<'a> {
    values: &'a Values<'a>,
    choice: &'a Choice,
    steps: u64,
    /// What the loops are at, the outermost first.
    elements: Vec<Val<'a>>,
}

impl<'a> Run<'a> {
    /// Counts a step, and what it reads.
    fn step(&mut self, bytes: usize) -> Result<(), Fault> {
        let cost = 1 + (bytes / 64) as u64;
        let left = self.steps.checked_sub(cost);
        // Once they have run out nothing more is evaluated, so that no other side makes up for it.
        self.steps = left.unwrap_or(0);
        left.map(drop).ok_or(Fault::Steps)
    }

    fn node(&mut self, node: &'a Node) -> Result<Val<'a>, Fault> {
        self.step(0)?;
        Ok(match node {
            Node::Bool(flag) => Val::Bool(*flag),
            Node::Whole(number) => Val::Whole(*number),
            Node::Text(text) => Val::Text(text),
            Node::Variable(variable) => self.values.get(*variable, self.choice)?,
            Node::Element(place) => {
                self.elements.get(*place).cloned().ok_or(Fault::Type("an element"))?
            }
            Node::Field(of, name) => {
                let of = self.node(of)?;
                of.under(name)?.ok_or_else(|| Fault::Missing(name.clone()))?
            }
            Node::Has(of, name) => Val::Bool(self.node(of)?.under(name)?.is_some()),
            Node::Index(of, at) => {
                let (of, at) = (self.node(of)?, self.node(at)?);
                self.step(at.bytes())?;
                index(&of, &at)?
            }
            Node::List(items) => {
                Val::List(items.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            Node::Not(of) => Val::Bool(!self.node(of)?.flag()?),
            Node::And(one, other) => Val::Bool(self.joined(one, other, false)?),
            Node::Or(one, other) => Val::Bool(self.joined(one, other, true)?),
            Node::Choice(condition, then, otherwise) => {
                let chosen = if self.node(condition)?.flag()? { then } else { otherwise };
                self.node(chosen)?
            }
            Node::Equal(one, other) => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                Val::Bool(self.equal(&one, &other)?)
            }
            Node::Ordered(order, one, other) => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                self.step(one.bytes().max(other.bytes()))?;
                let compared = match (&one, &other) {
                    (Val::Whole(one), Val::Whole(other)) => one.cmp(other),
                    (Val::Text(one), Val::Text(other)) => one.cmp(other),
                    _ => return Err(Fault::Type("a whole number or a text, on both sides")),
                };
                Val::Bool(match order {
                    Order::Less => compared.is_lt(),
                    Order::LessOrEqual => compared.is_le(),
                    Order::Greater => compared.is_gt(),
                    Order::GreaterOrEqual => compared.is_ge(),
                })
            }
            Node::In(one, other) => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                Val::Bool(self.is_in(&one, &other)?)
            }
            Node::Within(part, of, sought) => {
                let (of, sought) = (self.node(of)?, self.node(sought)?);
                let (of, sought) = (of.text()?, sought.text()?);
                self.step(sought.len())?;
                if *part == Part::Anywhere {
                    self.step(of.len())?;
                }
                Val::Bool(match part {
                    Part::Start => of.starts_with(sought),
                    Part::End => of.ends_with(sought),
                    Part::Anywhere => of.contains(sought),
                })
            }
            Node::Size(of) => {
                let of = self.node(of)?;
                self.step(of.bytes())?;
                Val::Whole(of.size()? as i128)
            }
            Node::Loop(quantifier, over, body) => {
                let over = self.node(over)?;
                self.looped(*quantifier, over, body)?
            }
        })
    }

    /// `&&` and `||`: a side that decides makes up for a fault of the other, on whichever side it stands.
    fn joined(&mut self, one: &'a Node, other: &'a Node, decides: bool) -> Result<bool, Fault> {
        let first = self.node(one).and_then(|value| value.flag());
        if first == Ok(decides) {
            return Ok(decides);
        }
        let second = self.node(other).and_then(|value| value.flag());
        match (first, second) {
            (_, Ok(flag)) if flag == decides => Ok(decides),
            (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(_), Ok(_)) => Ok(!decides),
        }
    }

    fn looped(
        &mut self,
        quantifier: Quantifier,
        over: Val<'a>,
        body: &'a Node,
    ) -> Result<Val<'a>, Fault> {
        let mut found = Vec::new();
        let mut count = 0_usize;
        let mut pending = None;
        // What is looped over is looked at as it is reached, so that a long list costs what is used of it.
        for item in elements(over)? {
            // What is not there costs its step too: it was the client who wrote it.
            self.step(0)?;
            let Some(item) = item? else { continue };
            self.elements.push(item.clone());
            let holds = self.node(body).and_then(|value| value.flag());
            self.elements.pop();
            match (quantifier, holds) {
                (_, Err(Fault::Steps)) => return Err(Fault::Steps),
                (Quantifier::All, Ok(false)) => return Ok(Val::Bool(false)),
                (Quantifier::Exists, Ok(true)) => return Ok(Val::Bool(true)),
                (Quantifier::All | Quantifier::Exists, Err(fault)) => pending = Some(fault),
                (_, Err(fault)) => return Err(fault),
                (Quantifier::ExistsOne, Ok(true)) => count += 1,
                (Quantifier::Filter, Ok(true)) => found.push(item),
                (_, Ok(_)) => {}
            }
        }
        match (quantifier, pending) {
            (_, Some(fault)) => Err(fault),
            (Quantifier::All, None) => Ok(Val::Bool(true)),
            (Quantifier::Exists, None) => Ok(Val::Bool(false)),
            (Quantifier::ExistsOne, None) => Ok(Val::Bool(count == 1)),
            (Quantifier::Filter, None) => Ok(Val::List(found)),
        }
    }

    fn is_in(&mut self, one: &Val<'a>, other: &Val<'a>) -> Result<bool, Fault> {
        if let Val::Tree(Value::Object(_)) = other {
            self.step(one.bytes())?;
            return Ok(other.under(one.text()?)?.is_some());
        }
        for item in elements(other.clone())? {
            self.step(0)?;
            if let Some(item) = item?
                && self.equal(one, &item)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Values of different types are not equal.
    fn equal(&mut self, one: &Val<'a>, other: &Val<'a>) -> Result<bool, Fault> {
        self.step(one.bytes().max(other.bytes()))?;
        Ok(match (one, other) {
            (Val::Bool(one), Val::Bool(other)) => one == other,
            (Val::Whole(one), Val::Whole(other)) => one == other,
            (Val::Text(one), Val::Text(other)) => one == other,
            (Val::Tree(Value::Object(map)), Val::Tree(Value::Object(_))) => {
                if one.size()? != other.size()? {
                    return Ok(false);
                }
                for (key, value) in map {
                    self.step(key.len())?;
                    let Some(value) = Val::of(value)? else { continue };
                    match other.under(key)? {
                        Some(another) if self.equal(&value, &another)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (
                Val::List(_) | Val::Tree(Value::Array(_)),
                Val::List(_) | Val::Tree(Value::Array(_)),
            ) => {
                if one.size()? != other.size()? {
                    return Ok(false);
                }
                for (item, another) in elements(one.clone())?.zip(elements(other.clone())?) {
                    match (item?, another?) {
                        (Some(item), Some(another)) if self.equal(&item, &another)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            _ => false,
        })
    }
}

fn index<'a>(of: &Val<'a>, at: &Val<'a>) -> Result<Val<'a>, Fault> {
    match (of, at) {
        (Val::Tree(Value::Object(_)), Val::Text(key)) => {
            of.under(key)?.ok_or_else(|| Fault::Missing((*key).to_owned()))
        }
        (_, Val::Whole(place)) => {
            let missing = || Fault::Missing(format!("element {place}"));
            let place = usize::try_from(*place).map_err(|_| missing())?;
            match of {
                Val::List(items) => items.get(place).cloned().ok_or_else(missing),
                Val::Tree(Value::Array(items)) => {
                    items.get(place).map_or(Ok(None), Val::of)?.ok_or_else(missing)
                }
                _ => Err(Fault::Type("a list")),
            }
        }
        _ => Err(Fault::Type("a list with a place, or a map with a key")),
    }
}

/// What a list or the keys of a map hold at a place; `None` for a key whose value is null.
type Held<'a> = Result<Option<Val<'a>>, Fault>;

/// The elements of a list, or the keys of a map.
fn elements<'a>(of: Val<'a>) -> Result<Box<dyn Iterator<Item = Held<'a>> + 'a>, Fault> {
    Ok(match of {
        Val::List(items) => Box::new(items.into_iter().map(Some).map(Ok)),
        Val::Tree(Value::Array(items)) => Box::new(items.iter().map(|item| {
            let there = Val::of(item)?;
            there.ok_or_else(|| Fault::Missing("element: it is null".to_owned())).map(Some)
        })),
        Val::Tree(Value::Object(object)) => Box::new(
            object.iter().map(|(key, value)| Ok((!value.is_null()).then_some(Val::Text(key)))),
        ),
        _ => return Err(Fault::Type("a list or a map")),
    })
}
