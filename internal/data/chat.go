package data

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"shira/internal/fault"
	"shira/internal/jinja"
)

// roles maps the names of roles that ShareGPT's and LLaMA-Factory's conversations have to those that templates know.
var roles = map[string]string{
	"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "function_call": "assistant", "observation": "tool",
}

const assistant = "assistant"

// conversation is what a chat template is rendered over.
type conversation struct {
	messages []any // *jinja.Dict
	tools    any
	counts   []bool // of each message, whether it is the assistant's and to be trained on
}

// chat encodes a conversation as the text that the model's chat template makes of it. The assistant's turns count, all of
// them, up to the token that ends each.
func (e *encoder) chat(r *row, kind int) (ids, labels []int32, err error) {
	if e.Template == nil {
		return nil, nil, fault.New(fault.Incompatible, "", "a conversation, and the model has no chat template").
			WithHint("set chat_template, or --chat-template: %s, or the path of a Jinja file", strings.Join(TemplateNames(), ", "))
	}
	c, err := r.conversation(kind)
	if err != nil {
		return nil, nil, err
	}
	full, err := e.Template.render(c.messages, c.tools, false)
	if err != nil {
		return nil, nil, e.refused(err)
	}
	ids = e.Tokenizer.Encode(full.Text)
	if e.TrainOnInputs {
		return ids, nil, nil
	}
	labels = make([]int32, len(ids))
	for i := range labels {
		labels[i] = Ignore
	}
	err = e.turns(c, full, func(t turn) bool {
		first := commonPrefix(ids, e.Tokenizer.Encode(full.Text[:t.start]))
		if e.MaxLength > 0 && first >= e.MaxLength {
			return false // what follows is cut off
		}
		end := len(ids)
		if t.end < len(full.Text) {
			end = commonPrefix(ids, e.Tokenizer.Encode(full.Text[:t.end]))
		}
		if t.open {
			end = e.nextSpecial(ids, end)
		} else {
			end = e.turnEnd(ids, first, end)
		}
		if first < end {
			copy(labels[first:end], ids[first:end])
		}
		return true
	})
	return ids, labels, err
}

// nextSpecial returns the index after the special token that follows end, or end where a text does.
func (e *encoder) nextSpecial(ids []int32, end int) int {
	for i := end; i < len(ids); i++ {
		if e.Tokenizer.IsSpecial(ids[i]) {
			return i + 1
		}
		if strings.TrimSpace(e.Tokenizer.Decode(ids[i:i+1])) != "" {
			break
		}
	}
	return end
}

// turnEnd moves the end of a turn before the white space that a template puts after the token that ends it: the model never
// has to say it.
func (e *encoder) turnEnd(ids []int32, first, end int) int {
	last := end
	for last > first && !e.Tokenizer.IsSpecial(ids[last-1]) && strings.TrimSpace(e.Tokenizer.Decode(ids[last-1:last])) == "" {
		last--
	}
	if last > first && e.Tokenizer.IsSpecial(ids[last-1]) {
		return last
	}
	return end
}

// refused is the error of a template that cannot be rendered over a row.
func (e *encoder) refused(err error) error {
	if je, ok := errors.AsType[*jinja.Error](err); ok && je.Raised {
		return fmt.Errorf("the chat template refuses the conversation: %s", fault.Quote(je.Msg))
	}
	return fmt.Errorf("the chat template fails: %w (%s)", err, e.Template.Name)
}

// conversation reads the messages of a row. Where a prompt and a completion have some each, only the latter's count.
func (r *row) conversation(kind int) (*conversation, error) {
	c := &conversation{}
	parts := map[int][]field{chatKind: {fieldMessages}, shareGPTKind: {fieldConversations}, promptKind: {fieldPrompt, fieldCompletion}}[kind]
	for i, f := range parts {
		if err := r.messages(c, f, i == len(parts)-1); err != nil {
			return nil, err
		}
	}
	var err error
	if r.has&fieldTools != 0 {
		if c.tools, err = r.jinja(fieldTools); err != nil {
			return nil, err
		}
		if c.tools == "" {
			c.tools = nil
		}
	}
	return c, nil
}

// messages adds those of a field to a conversation, after the row's system message if there is one.
func (r *row) messages(c *conversation, f field, count bool) error {
	v, err := r.jinja(f)
	if err != nil {
		return err
	}
	list, ok := v.(*jinja.List)
	if !ok {
		return r.value(f).wrongType(r.name(f), "an array of messages")
	}
	if len(list.Items) == 0 {
		return fmt.Errorf("%s is empty", r.name(f))
	}
	system, err := r.text(fieldSystem)
	if err != nil {
		return err
	}
	for i, item := range list.Items {
		m, counts, err := r.message(item)
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", r.name(f), i, err)
		}
		if role, _ := m.Get(roleName); len(c.messages) == 0 && system != "" && role != "system" {
			c.add(message("system", system), false)
		}
		c.add(m, counts && count)
	}
	return nil
}

func emptyList(v any) bool {
	l, ok := v.(*jinja.List)
	return ok && len(l.Items) == 0
}

func (c *conversation) add(m *jinja.Dict, counts bool) {
	c.messages, c.counts = append(c.messages, m), append(c.counts, counts)
}

func message(role string, content any) *jinja.Dict {
	m := jinja.NewDict()
	m.Set(roleName, role)
	m.Set(contentName, content)
	return m
}

// jinja reads a field as templates see values. In files that hold texts only, such as CSV, it is JSON in a string.
func (r *row) jinja(f field) (any, error) {
	s := r.value(f)
	if s.peek() != '"' {
		return s.jinja(2)
	}
	text, err := s.text()
	if err != nil || strings.TrimSpace(string(text)) == "" {
		return "", err
	}
	s = &scanner{b: text}
	v, err := s.jinja(2)
	if err == nil {
		if s.space(); s.i < len(s.b) {
			err = s.fail("%s after the end", s.found())
		}
	}
	if err != nil {
		return nil, fault.New(fault.Malformed, "", "%s is a string, and not of JSON: %v", r.name(f), err)
	}
	return v, nil
}

// message brings a message into the form {role, content, …}, without what is null, as it is in tables where other messages
// have it, and says whether to train on it: it is the assistant's, and
// neither "weight": 0 (OpenAI) nor "train": false (axolotl) excludes it.
func (r *row) message(v any) (m *jinja.Dict, counts bool, err error) {
	from, ok := v.(*jinja.Dict)
	if !ok {
		return nil, false, errors.New("a message must be an object")
	}
	roleKey, contentKey := r.role, r.schema.text
	if _, ok := from.Get(roleName); roleKey == "" && !ok {
		roleKey = "from"
	} else if roleKey == "" {
		roleKey = roleName
	}
	if _, ok := from.Get(contentName); contentKey == "" && !ok {
		contentKey = "value"
	} else if contentKey == "" {
		contentKey = contentName
	}
	role, ok := from.Get(roleKey)
	name, isText := role.(string)
	if !ok || !isText {
		return nil, false, fmt.Errorf("no role: want %s, a string", fault.Quote(roleKey))
	}
	content, ok := from.Get(contentKey)
	if calls, _ := from.Get("tool_calls"); !ok && calls == nil {
		return nil, false, fmt.Errorf("no content: want %s", fault.Quote(contentKey))
	}
	switch content.(type) {
	case string, nil, *jinja.List:
	default:
		return nil, false, fmt.Errorf("%s is neither a string nor a list of parts", fault.Quote(contentKey))
	}
	if known, ok := roles[name]; ok {
		name = known
	}
	m = message(name, content)
	for k, v := range from.All() {
		if v != nil && k != roleKey && k != contentKey && k != roleName && k != contentName {
			m.Set(k, v)
		}
	}
	weight, _ := from.Get("weight")
	train, _ := from.Get("train")
	return m, name == assistant && weight != int64(0) && weight != float64(0) && train != false, nil
}

// turn is a range of bytes of a rendered text that counts. Where it is open, the special token after it does too.
type turn struct {
	start, end int
	open       bool
}

// turns calls f for the turns that count, in order, until f returns false.
//
// Where the template marks them itself by {% generation %}, these are they. Otherwise a turn starts where the template,
// given the messages before and asked for the start of the assistant's turn, ends; and it ends where the template, given
// the messages up to it, ends. That needs the one text to be a prefix of the other, which is checked: some templates leave
// earlier thoughts out, or move the system message. There the place of the content is found by rendering it changed.
func (e *encoder) turns(c *conversation, full jinja.Result, f func(turn) bool) error {
	if e.Template.jinja.HasGeneration() {
		spans, err := c.generated(full.Generated)
		for _, s := range spans {
			if !f(turn{start: s[0], end: s[1]}) {
				break
			}
		}
		return err
	}
	past := 0
	for i, counts := range c.counts {
		if !counts {
			continue
		}
		var t turn
		ok := e.turnStart(c, full.Text, i, &t) && e.turnStop(c, full.Text, i, &t)
		if !ok || t.start < past || t.end < t.start {
			return fault.New(fault.Malformed, "", "the chat template gives message %d no place of its own in the text", i).
				WithHint("put {%% generation %%} around the assistant's text in the template and set chat_template to it, or set train_on_inputs: true")
		}
		if past = t.end; !f(t) {
			break
		}
	}
	return nil
}

// generated returns the marked ranges but those of messages that do not count.
func (c *conversation) generated(spans [][2]int) ([][2]int, error) {
	var counts []bool
	all := true
	for i, m := range c.messages {
		if role, _ := m.(*jinja.Dict).Get(roleName); role == assistant {
			counts = append(counts, c.counts[i])
			all = all && c.counts[i]
		}
	}
	if all {
		return spans, nil
	}
	if len(counts) != len(spans) {
		return nil, fmt.Errorf("the chat template marks %d turns of %d: which ones count cannot be told", len(spans), len(counts))
	}
	var kept [][2]int
	for i, s := range spans {
		if counts[i] {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// turnStart finds where in text the turn of message i starts.
func (e *encoder) turnStart(c *conversation, text string, i int, t *turn) bool {
	before, err := e.Template.render(c.messages[:i], c.tools, false)
	var prompt jinja.Result
	if err == nil {
		prompt, err = e.Template.render(c.messages[:i], c.tools, true)
	}
	// A template that starts no turn when asked may still put something before the content.
	asked := err == nil && prompt.Text != before.Text
	if asked && strings.HasPrefix(text, prompt.Text) {
		t.start = len(prompt.Text)
		return true
	}
	if head, _, ok := e.mark(c, c.messages, i, true); ok && strings.HasPrefix(text, head) {
		t.start = len(head)
		return true
	}
	// The content does not start as it was given, and the template asks for more than it writes, such as a thought: the turn
	// starts where the text is no longer what is asked for.
	if asked && strings.HasPrefix(text, before.Text) {
		t.start = sharedPrefix(text, prompt.Text)
		return t.start > len(before.Text)
	}
	return false
}

// turnStop finds where in text the turn of message i ends.
func (e *encoder) turnStop(c *conversation, text string, i int, t *turn) bool {
	if i == len(c.messages)-1 {
		t.end = len(text)
		return true
	}
	upTo, err := e.Template.render(c.messages[:i+1], c.tools, false)
	if err == nil && strings.HasPrefix(text, upTo.Text) {
		t.end = len(upTo.Text)
		return true
	}
	_, tail, ok := e.mark(c, c.messages, i, false)
	if !ok || !strings.HasSuffix(text, tail) {
		return false
	}
	_, ending, ok := e.mark(c, c.messages[:i+1], i, false)
	if !ok {
		return false
	}
	// What follows the content both when the conversation ends there and when it goes on. Some templates end the last turn
	// by a token of its own.
	t.end = len(text) - len(tail)
	if n := sharedPrefix(tail, ending); n == len(ending) {
		t.end += n
	} else {
		t.open = true
	}
	return true
}

// sharedPrefix returns the length of the longest prefix that a and b share.
func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// sentinel is what no text holds: characters of private use.
const sentinel = "\U000f5a1e\U000f5a1f"

// mark renders messages with a sentinel at the start or the end of message i's content, and returns the texts before and
// after it.
func (e *encoder) mark(c *conversation, messages []any, i int, atStart bool) (head, tail string, ok bool) {
	m := messages[i].(*jinja.Dict)
	v, _ := m.Get(contentName)
	content, ok := v.(string)
	if !ok || strings.Contains(content, sentinel) {
		return "", "", false
	}
	// Templates trim contents: white space at the edge is no part of the turn.
	if atStart {
		content = sentinel + strings.TrimLeftFunc(content, unicode.IsSpace)
	} else {
		content = strings.TrimRightFunc(content, unicode.IsSpace) + sentinel
	}
	changed := jinja.NewDict()
	for k, v := range m.All() {
		changed.Set(k, v)
	}
	changed.Set(contentName, content)
	list := append(append(append([]any{}, messages[:i]...), changed), messages[i+1:]...)
	r, err := e.Template.render(list, c.tools, false)
	if err != nil || strings.Count(r.Text, sentinel) != 1 {
		return "", "", false
	}
	head, tail, _ = strings.Cut(r.Text, sentinel)
	return head, tail, true
}

// jinjaNumber is a JSON number as Python reads it.
func jinjaNumber(text string) any {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // beyond the range of floats
		return text
	}
	return f
}
