"""Writes expected.json: what transformers makes of templates/*.jinja over conversations.json, and Jinja of expressions.json.

    python make.py        # needs transformers and Jinja 2
"""
import datetime, glob, json, os
import transformers.utils.chat_template_utils as c

NOW = datetime.datetime(2024, 7, 26, 9, 5, 3)


class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


c.datetime = Fixed
here = os.path.dirname(os.path.abspath(__file__))
read = lambda name: open(os.path.join(here, name), encoding="utf-8").read()
conversations = json.loads(read("conversations.json"))
renderings = []
for path in sorted(glob.glob(os.path.join(here, "templates", "*.jinja"))):
    source = read(path)
    for name, conv in conversations.items():
        for prompt in (False, True):
            case = {"template": os.path.basename(path)[:-6], "conversation": name, "add_generation_prompt": prompt}
            try:
                text, spans = c.render_jinja_template(
                    conversations=[conv["messages"]], tools=conv.get("tools"), chat_template=source, add_generation_prompt=prompt,
                    return_assistant_tokens_mask="generation" in source, bos_token="<s>", eos_token="</s>")
                case["text"] = text[0]
                if spans:
                    case["generated"] = [text[0][a:b] for a, b in spans[0]]
            except Exception as e:
                case["error"] = str(e)
            renderings.append(case)
expressions = []
for source in json.loads(read("expressions.json")):
    case = {"source": source}
    try:
        case["text"] = c._compile_jinja_template(source).render(
            s="Hello, World", u="naïve 日本", n=7, f=2.5, none=None, l=[3, 1, 2], d={"b": 1, "a": "x"}, e=[], messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
    except Exception as e:
        case["error"] = str(e)
    expressions.append(case)
with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
    json.dump({"renderings": renderings, "expressions": expressions}, f, ensure_ascii=False, indent=1)
    f.write("\n")
