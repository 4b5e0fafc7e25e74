package chunker

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pkoukk/tiktoken-go"
)

// models and families are what the tables of tiktoken-go do not have yet, as
// openai/tiktoken 0.14 has it: names, and how names start.
var (
	models = map[string]string{
		"gpt-5":        "o200k_base",
		"o1":           "o200k_base",
		"o3":           "o200k_base",
		"o4-mini":      "o200k_base",
		"gpt-oss":      "o200k_harmony",
		"gpt-3.5":      "cl100k_base",
		"gpt-35-turbo": "cl100k_base", // in Azure
		"davinci-002":  "cl100k_base",
		"babbage-002":  "cl100k_base",
	}
	families = map[string]string{
		"gpt-5-":        "o200k_base",
		"gpt-5.":        "o200k_base",
		"o1-":           "o200k_base",
		"o3-":           "o200k_base",
		"o4-mini-":      "o200k_base",
		"chatgpt-4o-":   "o200k_base",
		"gpt-oss-":      "o200k_harmony",
		"gpt-35-turbo-": "cl100k_base",
	}
)

// EncodingForModel returns the encoding of a model's tokens. It is known for
// OpenAI's models, by the names that their providers have for them: a path
// before the name ("openai/gpt-4o"), a variant behind it ("gpt-oss:20b"), case
// and blanks around it do not count, and a fine-tuned model
// ("ft:gpt-4o-mini:acme::1") has the encoding of its base. For any other model,
// and for one whose encoding is none of Encodings, it is DefaultEncoding, which
// only approximates that model's tokens, and known is false.
//
// It reads tables and loads nothing. Another version of this package may know
// more models, so what it returned is worth recording.
func EncodingForModel(model string) (encoding string, known bool) {
	name := baseModel(model)
	encoding = cmp.Or(models[name], tiktoken.MODEL_TO_ENCODING[name], encodingOfFamily(name))
	if !slices.Contains(Encodings(), encoding) {
		return DefaultEncoding, false
	}
	return encoding, true
}

// baseModel returns the name of model in lower case, without what stands around
// it.
func baseModel(model string) string {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	name = strings.TrimPrefix(strings.TrimSpace(name), "ft:")
	name, _, _ = strings.Cut(name, ":")
	return strings.TrimSpace(name)
}

// encodingOfFamily returns the encoding of the longest prefix of name that has
// one, empty if there is none.
func encodingOfFamily(name string) (encoding string) {
	longest := ""
	for _, table := range [...]map[string]string{tiktoken.MODEL_PREFIX_TO_ENCODING, families} {
		for prefix, of := range table {
			if len(prefix) > len(longest) && strings.HasPrefix(name, prefix) {
				longest, encoding = prefix, of
			}
		}
	}
	return encoding
}
