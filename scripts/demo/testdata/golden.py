"""Write bpe.json: what the Hugging Face `tokenizers` library learns from text.txt, and how it splits and encodes.

    python golden.py    # in this folder, with tokenizers 0.23
"""
import json
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB = 400
CASES = [
    "Mia lives in the mill.", "  two  blanks ", "It's Tom's, isn't it? We'll see, I'd say: they've gone, I'm sure you're late.",
    "\n", "a\n\nb", " \n c", "tab\tand  \t mix ", "12 apples, 3x4=12!", "\"Oh!\" said he... (again)", "", " ", "x", "don't 's 'tis ''ll",
]

pre = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre
tokenizer.decoder = decoders.ByteLevel()
texts = open("text.txt").read().splitlines()
tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
    vocab_size=VOCAB, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
model = json.loads(tokenizer.to_str())["model"]
rows = []
for text in CASES:
    words = [text[a:b] for _, (a, b) in pre.pre_tokenize_str(text)]
    rows.append({"text": text, "words": words, "ids": tokenizer.encode(text).ids})
with open("bpe.json", "w") as f:
    json.dump({"vocab_size": VOCAB, "vocab": sorted(model["vocab"], key=model["vocab"].get), "merges": model["merges"], "rows": rows}, f)
    f.write("\n")
