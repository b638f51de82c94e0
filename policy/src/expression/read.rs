//! Reading: from the syntax tree of `cel` to a [`Program`], or to what is wrong and where.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;

use super::program::{Node, Order, Part, Program, Quantifier, Type};
use super::variables::Variable;
use super::{MAX_DEPTH, MAX_LENGTH, MAX_LOOPS, MAX_NODES, Over};
use coaming_config::suggest;

/// Functions and operators of CEL that are left out, and why.
const LEFT_OUT: [(&str, &str); 10] = [
    ("matches", "regular expressions are not supported; use startsWith, endsWith or contains"),
    ("map", "map() is not supported, since it makes new values; ask with exists, all or filter"),
    ("_+_", "arithmetic is not supported, nor joining texts and lists; compare values as they are"),
    ("_-_", "arithmetic is not supported; compare values as they are"),
    ("_*_", "arithmetic is not supported; compare values as they are"),
    ("_/_", "arithmetic is not supported; compare values as they are"),
    ("_%_", "arithmetic is not supported; compare values as they are"),
    ("_?._", "optional values are not supported; ask with has()"),
    ("_[?_]", "optional values are not supported; ask with has() or in"),
    ("dyn", "conversions are not supported; compare values as they are"),
];
/// What the parser says of a name that is likely to be tried.
const RESERVED: &str = "reserved identifier: namespace";
const KNOWN: [&str; 9] =
    ["all", "contains", "endsWith", "exists", "exists_one", "filter", "has", "size", "startsWith"];

/// What is wrong, and the word by which its place is found: the tree of this parser has no places.
struct Wrong {
    message: String,
    word: String,
}

type Read<T> = Result<T, Wrong>;

fn wrong<T>(word: &str, message: impl Into<String>) -> Read<T> {
    Err(Wrong { message: message.into(), word: word.to_owned() })
}

impl Program {
    /// Reads an expression that gives true or false.
    ///
    /// # Errors
    /// What is wrong with it, with the line and column in it.
    pub(super) fn read(text: &str, over: Over) -> Result<Program, String> {
        if text.trim().is_empty() {
            return Err(
                "the expression is empty; write a condition, or leave the field out".to_owned()
            );
        }
        if text.len() > MAX_LENGTH {
            return Err(format!(
                "the expression has {} bytes, and {MAX_LENGTH} are allowed; say it in several policies",
                text.len()
            ));
        }
        let depth = u16::try_from(MAX_DEPTH).unwrap_or(u16::MAX);
        let parser = PrattParser::new()
            .max_recursion_depth(depth)
            .max_expression_node_count(MAX_NODES)
            .error_recovery_limit(8);
        let tree = parser.parse(text).map_err(|errors| {
            // Errors without a place, such as that there were many, come first.
            let placed = errors.errors.iter().find(|error| error.pos.0 > 0);
            let Some(error) = placed.or(errors.errors.first()) else {
                return "the expression cannot be parsed".to_owned();
            };
            let message = match error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg) {
                RESERVED => {
                    "namespace is a reserved word of CEL; the pod's namespace is podNamespace"
                }
                message if message.contains("'<EOF>'") => {
                    "the expression ends before it is complete"
                }
                message => message,
            };
            match error.pos {
                (line, column) if line > 0 => at(line as usize, column as usize, message),
                _ => format!("the expression cannot be parsed: {message}"),
            }
        })?;
        let mut reader =
            Reader { over, named: Vec::new(), elements: Vec::new(), nodes: 0, depth: 0 };
        let read = reader.node(&tree).and_then(|(root, kind)| {
            if kind.agrees(&Type::Bool) {
                Ok(root)
            } else {
                wrong("", format!(
                    "the expression gives {kind}, and it must give true or false; compare it with \
                     something"
                ))
            }
        });
        match read {
            Ok(root) => Ok(Program { root, named: reader.named }),
            Err(Wrong { message, word }) => {
                let (line, column) = place_of(&word, text);
                Err(at(line, column, &message))
            }
        }
    }
}

fn at(line: usize, column: usize, message: &str) -> String {
    match line {
        1 => format!("column {column} of the expression: {message}"),
        _ => format!("line {line}, column {column} of the expression: {message}"),
    }
}

/// Where a word first stands by itself outside of quotes; the beginning where it does not.
fn place_of(word: &str, text: &str) -> (usize, usize) {
    let mut quote = None;
    let (mut line, mut column) = (1, 1);
    let mut before = ' ';
    for (index, character) in text.char_indices() {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        match quote {
            Some(open) if character == open && before != '\\' => quote = None,
            None if character == '"' || character == '\'' => quote = Some(character),
            None if !word.is_empty() && text.get(index..).is_some_and(|s| s.starts_with(word)) => {
                let after = text.get(index + word.len()..).and_then(|rest| rest.chars().next());
                let alone = !part_of_word(before) && !after.is_some_and(part_of_word);
                if alone || !word.chars().all(part_of_word) {
                    return (line, column);
                }
            }
            _ => {}
        }
        before = character;
        column += 1;
        if character == '\n' {
            (line, column) = (line + 1, 1);
        }
    }
    (1, 1)
}

struct Reader {
    over: Over,
    named: Vec<Variable>,
    /// What the loops go over, by its name, with the type of its elements.
    elements: Vec<(String, Type)>,
    nodes: usize,
    depth: usize,
}

impl Reader {
    fn node(&mut self, tree: &IdedExpr) -> Read<(Node, Type)> {
        self.nodes += 1;
        self.depth += 1;
        if self.nodes > MAX_NODES {
            return wrong("", format!("more than {MAX_NODES} parts; say it in several policies"));
        }
        if self.depth > MAX_DEPTH {
            return wrong(
                "",
                format!("nested deeper than {MAX_DEPTH} levels; say it in several policies"),
            );
        }
        let read = self.expression(&tree.expr);
        self.depth -= 1;
        read
    }

    fn boxed(&mut self, tree: &IdedExpr) -> Read<(Box<Node>, Type)> {
        self.node(tree).map(|(node, kind)| (Box::new(node), kind))
    }

    /// A part that must be of a type.
    fn typed(&mut self, tree: &IdedExpr, wanted: &Type, of: &str) -> Read<Box<Node>> {
        let (node, kind) = self.boxed(tree)?;
        if kind.agrees(wanted) {
            return Ok(node);
        }
        let word = word_of(tree).unwrap_or(of);
        wrong(word, format!("{of} needs {wanted} here, and this is {kind}"))
    }

    fn expression(&mut self, tree: &Expr) -> Read<(Node, Type)> {
        match tree {
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                let (of, kind) = self.boxed(&select.operand)?;
                let field = match kind {
                    Type::Map => Type::Text,
                    Type::Any => Type::Any,
                    other => {
                        let message = format!("{other} has no field {}", select.field);
                        return wrong(&select.field, message);
                    }
                };
                Ok(match select.test {
                    true => (Node::Has(of, select.field.clone()), Type::Bool),
                    false => (Node::Field(of, select.field.clone()), field),
                })
            }
            Expr::List(list) if list.optional_indices.is_empty() => {
                let mut items = Vec::new();
                let mut of = Type::Any;
                for element in &list.elements {
                    let (item, kind) = self.node(element)?;
                    if !of.agrees(&kind) {
                        let word = word_of(element).unwrap_or("[");
                        return wrong(word, format!("a list of {of} cannot hold {kind} too"));
                    }
                    of = kind;
                    items.push(item);
                }
                Ok((Node::List(items), Type::List(Box::new(of))))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(call),
            Expr::List(_) => wrong("[", "optional elements are not supported; leave the ? out"),
            Expr::Map(_) => {
                wrong("{", "maps cannot be written here; use a list, or compare with each value")
            }
            Expr::Struct(made) => wrong(
                &made.type_name,
                "messages (Name{...}) are not supported; compare with texts, numbers and lists",
            ),
            Expr::Unspecified => wrong("", "a part of the expression is missing here"),
        }
    }

    fn name(&mut self, name: &str) -> Read<(Node, Type)> {
        if let Some(place) = self.elements.iter().rposition(|(element, _)| element == name) {
            let kind = self.elements.get(place).map_or(Type::Any, |(_, kind)| kind.clone());
            return Ok((Node::Element(place), kind));
        }
        let Some(variable) = Variable::of(self.over).find(|variable| variable.name() == name)
        else {
            if name == "spec" {
                return wrong(
                    name,
                    "spec is not known where policies are chosen; spec.refuse can ask for it",
                );
            }
            let known = Variable::of(self.over).map(Variable::name);
            return wrong(name, suggest::unknown("variable", name, known));
        };
        if !self.named.contains(&variable) {
            self.named.push(variable);
        }
        Ok((Node::Variable(variable), variable.holds()))
    }

    fn call(&mut self, call: &CallExpr) -> Read<(Node, Type)> {
        let name = call.func_name.as_str();
        match (&call.target, name, call.args.as_slice()) {
            (None, operators::LOGICAL_NOT, [of]) => {
                Ok((Node::Not(self.typed(of, &Type::Bool, "!")?), Type::Bool))
            }
            (None, operators::LOGICAL_AND, [one, other]) => {
                let one = self.typed(one, &Type::Bool, "&&")?;
                Ok((Node::And(one, self.typed(other, &Type::Bool, "&&")?), Type::Bool))
            }
            (None, operators::LOGICAL_OR, [one, other]) => {
                let one = self.typed(one, &Type::Bool, "||")?;
                Ok((Node::Or(one, self.typed(other, &Type::Bool, "||")?), Type::Bool))
            }
            (None, operators::CONDITIONAL, [condition, then, otherwise]) => {
                let condition = self.typed(condition, &Type::Bool, "?")?;
                let (then, kind) = self.boxed(then)?;
                let (otherwise, other) = self.boxed(otherwise)?;
                if !kind.agrees(&other) {
                    return wrong(
                        "?",
                        format!("? gives {kind} or {other}; both must be of one type"),
                    );
                }
                let kind = if kind == Type::Any { other } else { kind };
                Ok((Node::Choice(condition, then, otherwise), kind))
            }
            (None, operators::EQUALS, [one, other]) => {
                Ok((self.equal("==", one, other)?, Type::Bool))
            }
            (None, operators::NOT_EQUALS, [one, other]) => {
                Ok((Node::Not(Box::new(self.equal("!=", one, other)?)), Type::Bool))
            }
            (None, operators::LESS, [one, other]) => self.ordered(Order::Less, "<", one, other),
            (None, operators::LESS_EQUALS, [one, other]) => {
                self.ordered(Order::LessOrEqual, "<=", one, other)
            }
            (None, operators::GREATER, [one, other]) => {
                self.ordered(Order::Greater, ">", one, other)
            }
            (None, operators::GREATER_EQUALS, [one, other]) => {
                self.ordered(Order::GreaterOrEqual, ">=", one, other)
            }
            (None, operators::IN, [one, other]) => {
                let (one, kind) = self.boxed(one)?;
                let (other, within) = self.boxed(other)?;
                let fits = match &within {
                    Type::List(of) => kind.agrees(of),
                    Type::Map => kind.agrees(&Type::Text),
                    Type::Any => true,
                    _ => false,
                };
                if !fits {
                    return wrong(
                        "in",
                        format!(
                            "{kind} is never in {within}; look for a value of the type that it holds"
                        ),
                    );
                }
                Ok((Node::In(one, other), Type::Bool))
            }
            (None, operators::INDEX, [of, at]) => {
                let (of, kind) = self.boxed(of)?;
                let (wanted, found) = match &kind {
                    Type::List(of) => (Type::Whole, (**of).clone()),
                    Type::Map => (Type::Text, Type::Text),
                    Type::Any => (Type::Any, Type::Any),
                    _ => {
                        return wrong("[", format!("[] needs a list or a map, and this is {kind}"));
                    }
                };
                Ok((Node::Index(of, self.typed(at, &wanted, "[]")?), found))
            }
            (Some(of), "startsWith", [sought]) => self.within(Part::Start, name, of, sought),
            (Some(of), "endsWith", [sought]) => self.within(Part::End, name, of, sought),
            (Some(of), "contains", [sought]) => self.within(Part::Anywhere, name, of, sought),
            (None, "size", [of]) => self.size(of),
            (Some(of), "size", []) => self.size(of),
            _ => {
                if let Some((_, why)) = LEFT_OUT.iter().find(|(left_out, _)| *left_out == name) {
                    let word = name.trim_matches('_').trim_matches(['[', ']', '?', '.']);
                    return wrong(if word.is_empty() { "?" } else { word }, *why);
                }
                if KNOWN.contains(&name) {
                    let form = match name {
                        "size" => "size(list)",
                        "has" => "has(spec.field)",
                        "startsWith" | "endsWith" | "contains" => "text.{}('word')",
                        _ => "list.{}(each, condition)",
                    };
                    let form = form.replace("{}", name);
                    return wrong(name, format!("{name} is not called like this; write {form}"));
                }
                wrong(name, suggest::unknown("function", name, KNOWN))
            }
        }
    }

    fn equal(&mut self, of: &str, one: &IdedExpr, other: &IdedExpr) -> Read<Node> {
        let (one, kind) = self.boxed(one)?;
        let (other, another) = self.boxed(other)?;
        if !kind.agrees(&another) {
            return wrong(
                of,
                format!("{kind} and {another} are never equal; compare values of one type"),
            );
        }
        Ok(Node::Equal(one, other))
    }

    fn ordered(
        &mut self,
        order: Order,
        of: &str,
        one: &IdedExpr,
        other: &IdedExpr,
    ) -> Read<(Node, Type)> {
        let (one, kind) = self.boxed(one)?;
        let (other, another) = self.boxed(other)?;
        let sortable = |kind: &Type| matches!(kind, Type::Whole | Type::Text | Type::Any);
        if !kind.agrees(&another) || !sortable(&kind) || !sortable(&another) {
            return wrong(of, format!("{of} compares numbers or texts, not {kind} with {another}"));
        }
        Ok((Node::Ordered(order, one, other), Type::Bool))
    }

    fn within(
        &mut self,
        part: Part,
        name: &str,
        of: &IdedExpr,
        sought: &IdedExpr,
    ) -> Read<(Node, Type)> {
        let of = self.typed(of, &Type::Text, name)?;
        let sought = self.typed(sought, &Type::Text, name)?;
        Ok((Node::Within(part, of, sought), Type::Bool))
    }

    fn size(&mut self, of: &IdedExpr) -> Read<(Node, Type)> {
        let (of, kind) = self.boxed(of)?;
        match kind {
            Type::Bool | Type::Whole => {
                wrong("size", format!("{kind} has no size; ask it of a text, a list or a map"))
            }
            _ => Ok((Node::Size(of), Type::Whole)),
        }
    }

    /// The loops that the macros expand to, by the shape of their steps.
    fn comprehension(&mut self, made: &ComprehensionExpr) -> Read<(Node, Type)> {
        let step = match &made.loop_step.expr {
            Expr::Call(call) => (call.func_name.as_str(), call.args.as_slice()),
            _ => ("", [].as_slice()),
        };
        let (quantifier, body) = match step {
            (operators::LOGICAL_AND, [_, body]) => (Quantifier::All, body),
            (operators::LOGICAL_OR, [_, body]) => (Quantifier::Exists, body),
            (operators::CONDITIONAL, [body, then, _]) => match added(then) {
                Some(Expr::Literal(LiteralValue::Int(_))) => (Quantifier::ExistsOne, body),
                Some(Expr::List(list)) if keeps_element(list.elements.as_slice(), made) => {
                    (Quantifier::Filter, body)
                }
                _ => return self.left_out("map"),
            },
            _ => return self.left_out("map"),
        };
        let (over, kind) = self.boxed(&made.iter_range)?;
        let element = match &kind {
            Type::List(of) => (**of).clone(),
            Type::Map => Type::Text,
            Type::Any => Type::Any,
            _ => {
                return wrong(
                    &made.iter_var,
                    format!("{kind} has no elements to go over; a list or a map has"),
                );
            }
        };
        if self.elements.len() >= MAX_LOOPS {
            return wrong(
                &made.iter_var,
                format!("all, exists, exists_one and filter may be nested {MAX_LOOPS} deep"),
            );
        }
        self.elements.push((made.iter_var.clone(), element));
        let body = self.typed(body, &Type::Bool, &made.iter_var);
        self.elements.pop();
        let gives = if quantifier == Quantifier::Filter {
            match kind {
                Type::Map => Type::List(Box::new(Type::Text)),
                kind => kind,
            }
        } else {
            Type::Bool
        };
        Ok((Node::Loop(quantifier, over, body?), gives))
    }

    fn left_out<T>(&self, name: &str) -> Read<T> {
        let why = LEFT_OUT.iter().find(|(left_out, _)| *left_out == name);
        wrong(name, why.map_or("this is not supported", |(_, why)| why))
    }
}

/// What a step adds to what was gathered.
fn added(step: &IdedExpr) -> Option<&Expr> {
    match &step.expr {
        Expr::Call(call) if call.func_name == operators::ADD => {
            call.args.get(1).map(|argument| &argument.expr)
        }
        _ => None,
    }
}

/// Whether a filter keeps the element itself, and does not make another of it (`map` with a condition).
fn keeps_element(elements: &[IdedExpr], made: &ComprehensionExpr) -> bool {
    matches!(elements, [IdedExpr { expr: Expr::Ident(name), .. }] if *name == made.iter_var)
}

fn constant(literal: &LiteralValue) -> Read<(Node, Type)> {
    Ok(match literal {
        LiteralValue::Boolean(flag) => (Node::Bool(*flag.inner()), Type::Bool),
        LiteralValue::Int(number) => (Node::Whole((*number.inner()).into()), Type::Whole),
        LiteralValue::UInt(number) => (Node::Whole((*number.inner()).into()), Type::Whole),
        LiteralValue::String(text) => (Node::Text(text.inner().to_owned()), Type::Text),
        LiteralValue::Null => {
            return wrong(
                "null",
                "null is not a value here, as for the runtimes; ask with has() whether a field is \
                 there",
            );
        }
        LiteralValue::Double(_) => return wrong(".", "only whole numbers are supported"),
        LiteralValue::Bytes(_) => {
            return wrong("b", "bytes are not supported; write a text, without the b before it");
        }
    })
}

/// A word by which a part is found.
fn word_of(tree: &IdedExpr) -> Option<&str> {
    match &tree.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => Some(&select.field),
        Expr::Call(call) if !call.func_name.starts_with(['_', '!', '@', '-']) => {
            Some(&call.func_name)
        }
        _ => None,
    }
}
