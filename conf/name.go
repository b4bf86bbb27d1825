package conf

import "strings"

// RepliesName begins the names of the rules that steer the replies of UDP upstreams. No rule of a file can have one.
const RepliesName = "udp-replies"

// isReserved reports whether a name stands for something else than a rule of the file, in counters and listings.
func isReserved(name string) bool {
	return name == "sealed" || name == "open" || name == "outside" ||
		name == RepliesName || strings.HasPrefix(name, RepliesName+"-")
}

// parseName reads the name of a rule. The limits are those of [rule.Rule.Name]; the characters are safe in a metric's
// label, a log line and a shell.
func parseName(text string) (string, *finding) {
	const hint = `use up to 63 letters, digits, ".", "_" and "-", with a letter or digit first`
	if text == "" || len(text) > 63 || !isAlphanumeric(text[0]) {
		return "", refuse(hint, "%q is no name for a rule", text)
	}
	for _, c := range []byte(text) {
		if !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return "", refuse(hint, "%q is no name for a rule", text)
		}
	}
	if isReserved(text) {
		return "", refuse("choose another", "the name %q is taken by anyport itself", text)
	}
	return text, nil
}
