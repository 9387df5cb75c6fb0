package tokenizer

import "shira/internal/fault"

// template is what a post-processor puts around the ids of a text.
type template struct{ before, after []int32 }

// newTemplate reads the post_processor of a tokenizer.json, null for none. exists tells which ids there are.
func newTemplate(n node, exists func(int32) bool) template {
	var t template
	if n.null() {
		return t
	}
	for _, part := range flatten(n, "processors") {
		var inner template
		switch part.field("type").str() {
		case "ByteLevel": // trims offsets, which are not computed here
		case "BertProcessing", "RobertaProcessing":
			inner = template{[]int32{pairID(part.field("cls"))}, []int32{pairID(part.field("sep"))}}
		case "TemplateProcessing":
			inner = singleTemplate(part)
		default:
			part.unsupportedType()
		}
		t.before = append(inner.before, t.before...)
		t.after = append(t.after, inner.after...)
	}
	for _, ids := range [][]int32{t.before, t.after} {
		for _, id := range ids {
			if !exists(id) {
				n.report.malformedf("%s adds the token id %d, which no token has", n.at, id)
			}
		}
	}
	return t
}

// pairID reads a ["</s>", 2] pair.
func pairID(n node) int32 {
	items := n.items()
	if len(items) != 2 {
		n.wrong("a token and its id")
		return 0
	}
	return items[1].tokenID()
}

// singleTemplate reads the template for one sequence of a TemplateProcessing.
func singleTemplate(n node) template {
	var t template
	sequences := 0
	for _, piece := range n.field("single").items() {
		if !piece.field("Sequence").null() {
			sequences++
			continue
		}
		name := piece.field("SpecialToken").field("id").str()
		special := n.field("special_tokens").field(name)
		if special.null() {
			n.report.malformedf("%s names the special token %s, which special_tokens lacks", piece.at, fault.Quote(name))
			continue
		}
		for _, id := range special.field("ids").items() {
			if sequences == 0 {
				t.before = append(t.before, id.tokenID())
			} else {
				t.after = append(t.after, id.tokenID())
			}
		}
	}
	if sequences != 1 {
		n.report.unsupportedf("%s with %d sequences in its template for one", n.at, sequences)
	}
	return t
}
