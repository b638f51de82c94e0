//! Rules that say nothing which another policy does not say already.

use coaming_policy::controls::Rule;
use coaming_policy::floor::{Bound, Clause, Visitor};

use super::set::{Found, Member, covers};

/// Above so many policies, each is not held against each: a directory may hold thousands.
const MOST: usize = 256;

pub(super) fn lint(members: &[Member<'_>], first: &str, lints: &mut Found) {
    // What is included was not written rule by rule; `included` looks at it as a whole.
    let own = |member: &&Member<'_>| member.include.is_none();
    let policies = members.iter().filter(own).count();
    if policies > MOST {
        let message = format!(
            "{policies} policies are here; above {MOST} they are not searched for rules that say what another says"
        );
        return lints.note(first, message);
    }
    for (index, wide) in members.iter().enumerate() {
        for (other, narrow) in members.iter().enumerate().filter(|(_, member)| own(member)) {
            if index != other && covers(wide, narrow) {
                let mut shadows = Shadows {
                    wide,
                    narrow,
                    // Of two that say the same of the same, the second is the one too many.
                    twins: own(&wide) && index > other && covers(narrow, wide),
                    lints,
                };
                wide.floor.meet(narrow.floor).visit(&mut shadows);
            }
        }
    }
}

struct Shadows<'a> {
    wide: &'a Member<'a>,
    narrow: &'a Member<'a>,
    twins: bool,
    lints: &'a mut Found,
}

impl Visitor for Shadows<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        let field = format!("spec.{}", R::CONTROL);
        let own = |member: &Member<'_>| {
            let mut clauses = bound.clauses().iter();
            let mut own = clauses
                .by_ref()
                .filter(|clause| member.has(&clause.source) && clause.source.field == field);
            // Of several, one alone says nothing of the field.
            own.next().filter(|_| own.next().is_none())
        };
        let (Some(wide), Some(narrow)) = (own(self.wide), own(self.narrow)) else { return };
        if narrow.rule != R::top() && says(wide, narrow) && !(self.twins && says(narrow, wide)) {
            let message = format!(
                "{field} demands nothing that {} does not, and that applies to every container that this \
                 selects",
                wide.source
            );
            self.lints.warn(&narrow.source, message);
        }
    }
}

/// Whether the first clause demands all that the second does.
pub(super) fn says<R: Rule>(wide: &Clause<R>, narrow: &Clause<R>) -> bool {
    wide.rule.at_least_as_strict_as(&narrow.rule)
        && wide.action >= narrow.action
        && (!wide.best_effort || narrow.best_effort)
}
