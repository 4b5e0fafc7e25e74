package chunker_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pkoukk/tiktoken-go"

	"tokenrelay/chunker"
)

func TestEncodingForModel(t *testing.T) {
	for encoding, models := range map[string][]string{
		"o200k_base": {
			"gpt-5", "gpt-5-mini", "gpt-5-2025-08-07", "gpt-5.1", "gpt-5.1-codex", "gpt-4.5-preview", "gpt-4.1", "gpt-4.1-nano-2025-04-14",
			"gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-mini", "chatgpt-4o-latest", "o1", "o1-preview", "o1-pro", "o3", "o3-mini-2025-01-31", "o4-mini", "o4-mini-high",
			"ft:gpt-4o", "ft:gpt-4o-mini-2024-07-18:my-org:custom_suffix:id", "ft:gpt-4.1-mini-2025-04-14:org::7p4l",
			"openai/gpt-4o", "openrouter/openai/gpt-4.1:free", "openai/ft:gpt-4o-mini:org::1", "azure/gpt-4o",
			"GPT-4o", "OpenAI/GPT-4.1-Mini", " gpt-4o\n", "openai/ FT:GPT-4o :x",
		},
		"cl100k_base": {
			"gpt-4", "gpt-4-0314", "gpt-4-32k", "gpt-4-turbo", "gpt-4-turbo-2024-04-09", "gpt-3.5", "gpt-3.5-turbo", "gpt-3.5-turbo-0125",
			"gpt-35-turbo", "gpt-35-turbo-16k", "ft:gpt-4-0613:org::1", "ft:gpt-3.5-turbo-0613:org::1", "davinci-002", "babbage-002", "ft:davinci-002:org::1",
			"text-embedding-ada-002", "text-embedding-3-large", "text-embedding-3-small", "openai/gpt-4",
		},
		"o200k_harmony": {"gpt-oss", "gpt-oss-120b", "gpt-oss:20b", "openai/gpt-oss-20b", "accounts/fireworks/models/gpt-oss-120b"},
	} {
		for _, model := range models {
			if got, known := chunker.EncodingForModel(model); got != encoding || !known {
				t.Errorf("EncodingForModel(%q) = %s, %t, want %s, true", model, got, known, encoding)
			}
		}
	}
	for _, model := range []string{
		"", "/", ":", "ft:", "demo", "m", "gpt", "gpt-", "gpt-6", "gpt-50", "gpt-4x", "gpt-4.7", "gpt 4o", "gpt-4o/", "o", "o2", "o11", "o3x", "o4", "gpt4",
		"llama-3.3-70b-instruct", "meta-llama/Llama-3.1-8B", "claude-sonnet-4-5", "anthropic/claude-3.5-sonnet", "gemini-2.5-pro", "deepseek-chat", "qwen3:8b",
		"gpt2", "davinci", "text-davinci-003", "code-davinci-002", "text-davinci-edit-001", "davinci:ft-acme-2023-01-01", "cl100k_base", "gpt-4o\x00", "\xff",
	} {
		if got, known := chunker.EncodingForModel(model); got != chunker.DefaultEncoding || known {
			t.Errorf("EncodingForModel(%q) = %s, %t, want %s, false", model, got, known, chunker.DefaultEncoding)
		}
	}
}

// What tiktoken-go knows is known here, as far as the encoding is one of ours.
func TestEncodingForModelKnowsThose(t *testing.T) {
	check := func(model, encoding string) {
		t.Helper()
		ours := slices.Contains(chunker.Encodings(), encoding)
		want := encoding
		if !ours {
			want = chunker.DefaultEncoding
		}
		for _, name := range []string{model, "provider/" + model, "ft:" + model + ":org::id"} {
			if got, known := chunker.EncodingForModel(name); got != want || known != ours {
				t.Errorf("EncodingForModel(%q) = %s, %t, want %s, %t", name, got, known, want, ours)
			}
		}
	}
	for model, encoding := range tiktoken.MODEL_TO_ENCODING {
		check(model, encoding)
	}
	for prefix, encoding := range tiktoken.MODEL_PREFIX_TO_ENCODING {
		check(prefix+"2030-01-01", encoding)
	}
}

// The order of the tables, which differs from one look to the next, decides
// nothing, and whatever the name the encoding is there.
func FuzzEncodingForModel(f *testing.F) {
	for _, model := range slices.Sorted(maps.Keys(tiktoken.MODEL_TO_ENCODING)) {
		f.Add(model)
		f.Add("ft:" + model + "-mini:x")
	}
	for _, prefix := range slices.Sorted(maps.Keys(tiktoken.MODEL_PREFIX_TO_ENCODING)) {
		f.Add(prefix)
		f.Add("a/b/" + prefix + "x:y")
	}
	f.Fuzz(func(t *testing.T, model string) {
		encoding, known := chunker.EncodingForModel(model)
		if !slices.Contains(chunker.Encodings(), encoding) || !known && encoding != chunker.DefaultEncoding {
			t.Errorf("EncodingForModel(%q) = %s, %t", model, encoding, known)
		}
		for range 20 {
			if again, knownAgain := chunker.EncodingForModel(model); again != encoding || knownAgain != known {
				t.Fatalf("EncodingForModel(%q) = %s, %t, then %s, %t", model, encoding, known, again, knownAgain)
			}
		}
		if got, _ := chunker.EncodingForModel("provider/" + model); got != encoding && !strings.Contains(model, "/") {
			t.Errorf("with a provider %q has %s, without %s", model, got, encoding)
		}
	})
}
