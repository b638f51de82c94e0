use super::coaming;

#[test]
fn schemas_are_printed_as_json() {
    for (arguments, field) in
        [(&["schema"][..], "spec"), (&["schema", "configuration"][..], "policy_directory")]
    {
        let said = coaming(arguments);
        let schema: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(schema["properties"][field].is_object(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_command_line_is_told_from_findings() {
    assert_eq!(coaming(&[]).code, Some(2));
    assert_eq!(coaming(&["explain"]).code, Some(2));
    assert_eq!(coaming(&["check", "--outptu", "json"]).code, Some(2));
}
