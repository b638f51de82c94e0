//! The words and statements of a profile's text, without their meaning (apparmor.d(5)).

/// What can stand before a rule.
const QUALIFIERS: [&str; 6] = ["audit", "allow", "deny", "owner", "other", "quiet"];
/// The letters of file permissions.
const PERMISSIONS: &str = "rwaxmlkuUpPcCiI";

/// A word: what stands between blanks, a comma that ends a rule, a brace of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word.
    pub text: &'a str,
    /// Where it begins in the text, in bytes.
    pub at: usize,
    /// Its line, from 1.
    pub line: usize,
}

/// One rule or setting.
#[derive(Debug, Default)]
pub(super) struct Statement<'a> {
    pub(super) words: Vec<Token<'a>>,
}

/// The words of a text, without comments.
///
/// # Errors
/// A quote that does not end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        line_tokens(line, start, index + 1, &mut tokens)?;
        start += line.len();
    }
    Ok(tokens)
}

fn line_tokens<'a>(
    line: &'a str,
    start: usize,
    number: usize,
    tokens: &mut Vec<Token<'a>>,
) -> Result<(), String> {
    let mut rest = 0;
    while let Some(text) = line.get(rest..) {
        let Some(blank) = text.find(|c: char| !c.is_whitespace()) else { break };
        let from = rest + blank;
        let word = line.get(from..).unwrap_or_default();
        // `#include` is a statement, in the old spelling.
        if word.starts_with('#') && !word.starts_with("#include") {
            break;
        }
        let length = word_length(word)
            .ok_or_else(|| format!("line {number}: a quoted name that does not end on its line"))?;
        let mut word = word.get(..length).unwrap_or_default();
        rest = from + length;
        let at = start + from;
        let ends = word.len() > 1 && word.ends_with(',');
        if ends {
            word = word.get(..word.len() - 1).unwrap_or_default();
        }
        // A block that begins right after flags: `flags=(complain){`.
        let opens = word.len() > 1 && word.ends_with("){");
        if opens {
            word = word.get(..word.len() - 1).unwrap_or_default();
        }
        tokens.push(Token { text: word, at, line: number });
        if opens {
            tokens.push(Token { text: "{", at: at + word.len(), line: number });
        }
        if ends {
            tokens.push(Token { text: ",", at: at + word.len(), line: number });
        }
    }
    Ok(())
}

/// Up to the next blank outside of quotes; a block's brace is a word of its own before a blank or at the end.
fn word_length(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

/// The statements among words: each ends with its comma; an include and a variable end with their line.
pub(super) fn statements<'a>(tokens: &[Token<'a>]) -> Vec<Statement<'a>> {
    let mut all = Vec::new();
    let mut open = Statement::default();
    // Within parentheses a comma stands between the words of a list.
    let mut depth = 0usize;
    for token in tokens {
        let of_a_line = open.words.first().is_some_and(|first| {
            let line = first.text.contains("include") || first.text.starts_with("@{");
            line && open.words.get(1).is_none_or(|second| !is_access(second.text))
                && first.line != token.line
        });
        if of_a_line {
            all.push(std::mem::take(&mut open));
            depth = 0;
        }
        depth += token.text.matches('(').count();
        depth = depth.saturating_sub(token.text.matches(')').count());
        match token.text {
            "," if depth == 0 => all.push(std::mem::take(&mut open)),
            _ => open.words.push(*token),
        }
    }
    all.push(open);
    all.retain(|statement| !statement.words.is_empty());
    all
}

impl<'a> Statement<'a> {
    /// Whether it takes away instead of giving.
    pub(super) fn denies(&self) -> bool {
        self.qualifiers().any(|word| word == "deny")
    }

    /// The first word that is no qualifier.
    pub(super) fn rule(&self) -> Option<&Token<'a>> {
        self.words.iter().find(|token| !is_qualifier(token.text))
    }

    /// The execute permission that a file rule gives.
    pub(super) fn execute(&self) -> Option<&'a str> {
        let of_files = self.words.iter().any(|token| is_path(token.text));
        let bare = self.rule().is_some_and(|first| first.text == "file");
        if !of_files && !bare {
            return None;
        }
        let mut words = self.words.iter().filter(|token| !is_qualifier(token.text));
        words
            .find(|token| is_access(token.text) && token.text.contains(['x', 'X']))
            .map(|token| token.text)
    }

    fn qualifiers(&self) -> impl Iterator<Item = &'a str> {
        self.words.iter().map(|token| token.text).take_while(|word| is_qualifier(word))
    }
}

fn is_qualifier(word: &str) -> bool {
    QUALIFIERS.contains(&word) || word.starts_with("priority=")
}

fn is_path(word: &str) -> bool {
    let word = word.trim_start_matches('"');
    word.starts_with(['/', '{']) || word.starts_with("@{")
}

/// The parser takes letters of either case for all but the modes of execution (parser_lex.l, `MODES`).
fn is_access(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| PERMISSIONS.contains(c) || "RWXAMLKU".contains(c))
}
