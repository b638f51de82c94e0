//! CRI's container log: `TIME stdout|stderr P|F text` a line, P when the text goes on in the stream's next line
//! (Kubernetes, "CRI logging format").

use crate::Output;

pub(super) fn parse(log: &str) -> Output {
    let mut output = Output { code: 0, stdout: String::new(), stderr: String::new() };
    for line in log.lines() {
        let mut fields = line.splitn(4, ' ').skip(1);
        let (stream, tag, text) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
        let into = if stream == Some("stderr") { &mut output.stderr } else { &mut output.stdout };
        into.push_str(text);
        if tag == Some("F") {
            into.push('\n');
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_parted_and_partial_lines_joined() {
        let log = "t stdout P hel\nt stderr F oh  no\nt stdout F lo\nt stdout F \n";
        assert_eq!(
            parse(log),
            Output { code: 0, stdout: "hello\n\n".into(), stderr: "oh  no\n".into() }
        );
    }
}
