package session

// The banks of [Generate]: what does not belong to one topic. Templates have
// the slots of genText.expand. Whoever changes a word here raises GeneratorVersion.

// genOpeners begin a text. All quote the prompt, show bold type, and make no
// promise that the text might not keep.
var genOpeners = []string{
	"You asked about “{prompt}”, and the **short answer** is {that it depends|yes, with a footnote|simpler than its reputation}; the longer one {needs a little patience|is worth the walk|is best read with a warm drink}.",
	"“{prompt}” is a *good* question: it sounds small, and it has **more than one answer**, of which the {quietest|second|shortest} is the interesting one.",
	"Let us take “{prompt}” slowly. The **main idea** fits into one sentence, and the rest of this page is about its exceptions.",
	"On “{prompt}” there are **two schools**, which have shared a {kitchen|corridor|coffee machine} for years without settling it; here is what both would sign.",
	"Thank you for “{prompt}”. It is the kind of question that **improves with tea**, so this answer starts calmly and gets to the details in good time.",
	"Before “{prompt}” can be answered well, it helps to know **what is being counted**, and by whom.",
	"“{prompt}”, you say. The **honest answer** is shorter than the {useful|usual} one, so here is the {useful|usual} one.",
	"There is a **plain way** to look at “{prompt}”, and it begins, as so many things do, with something that moves {slowly|steadily|in its own time}.",
}

// genOpenersWithoutPrompt begin a text that nothing was asked for.
var genOpenersWithoutPrompt = []string{
	"You left the question blank, which is **generous**: the answer may go where it likes.",
	"No question is also a question, and a **restful** one.",
	"Since nothing in particular was asked, here is **something in particular**.",
	"An empty page is an invitation, and it would be **rude** to decline.",
}

// genBridges lead from the question to the first topic.
var genBridges = []string{
	"The clearest way in leads through {subject}.",
	"The best example I know is {subject}.",
	"First, it helps to think of {subject}.",
	"We begin with {subject}, for reasons that will become clear.",
	"Nothing explains it as kindly as {subject}.",
}

// genEmoji may follow any sentence. Their emoji are of every build: joined
// families and professions, skin tones, flags of both kinds, keycaps, and
// signs that are emoji only by their variation selector.
var genEmoji = []string{
	"The family on the pier 👩‍👩‍👧‍👦 counted waves until dinner.",
	"Approved on both banks of the river: 👍🏽 on the left, 👍🏻 on the right ❤️.",
	"The ferry flies 🇩🇰 in the morning and 🇸🇪 in the afternoon, and is on time under both ⛴️.",
	"The reviewers 👩🏽‍💻 🧑🏿‍🔬 👨‍🔧 agreed within the hour, which the minutes record as an anomaly 🤷‍♀️.",
	"One of the gardeners 👩🏼‍🌾 says hello 👋🏾, the other is asleep under the apple tree 😴.",
	"Nobody was in a hurry ☕, and the cat had the good chair 🐈‍⬛.",
	"Rain was forecast ⛈️ and sunshine arrived 🌤️; there were no complaints.",
	"It was tried in three time zones 🇯🇵 🇧🇷 🇰🇪, and everybody came back smiling 😊.",
	"Count along if you like: 1️⃣ 2️⃣ 3️⃣, and there is no step four.",
	"The surveyor came down from Edinburgh \U0001F3F4\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F with a kettle of her own 🫖.",
	"It works at the first try about as often as one sees a whale 🐋, which is to say that it does happen.",
	"The lighthouse keeper 🧔🏻‍♂️ waved back, twice, as is the custom 🏳️‍🌈.",
	"In Bremen 🇩🇪 they would call it solid, which is the local word for wonderful 👌🏼.",
	"Two neighbours 🧑🏻‍🤝‍🧑🏿 shook hands on it, and a dog 🐕‍🦺 was the witness.",
	"The kitchen 👨🏻‍🍳👩🏾‍🍳 sends its regards and a second pot ♨️.",
	"A heron watched all of it and gave nothing away 🪶.",
}

// genLanguageIntros introduce one sentence in several languages.
var genLanguageIntros = []string{
	"Other languages have known it for a long time. *{gloss}*",
	"It sounds better still in translation. *{gloss}*",
	"There is a saying for this, or there ought to be. *{gloss}*",
	"Painted over the door, in the languages of the house: *{gloss}*",
	"The regulars say it in their own words. *{gloss}*",
	"As the notice in the harbour office puts it: *{gloss}*",
}

// genLanguages are the languages of every genIdea. Three of them are written
// in Latin letters; Vietnamese comes decomposed, a letter followed by its marks.
var genLanguages = [...]string{
	"Deutsch", "Français", "日本語", "中文", "العربية", "हिन्दी", "Ελληνικά", "Русский", "한국어", "Tie\u0302\u0301ng Vie\u0323\u0302t",
}

// A genIdea is one sentence, in English and in each of genLanguages.
type genIdea struct {
	gloss string
	said  [len(genLanguages)]string
}

var genIdeas = []genIdea{
	{"Good tea takes its time.", [...]string{
		"Guter Tee lässt sich Zeit.",
		"Un bon thé prend son temps.",
		"おいしいお茶には時間がかかります。",
		"好茶需要时间。",
		"الشاي الجيد يحتاج إلى وقت.",
		"अच्छी चाय को समय चाहिए।",
		"Το καλό τσάι θέλει τον χρόνο του.",
		"Хороший чай не терпит спешки.",
		"좋은 차에는 시간이 필요합니다.",
		"Tra\u0300 ngon ca\u0302\u0300n co\u0301 tho\u031B\u0300i gian.",
	}},
	{"The tide comes back without being called.", [...]string{
		"Die Flut kehrt zurück, ohne dass man sie ruft.",
		"La marée revient sans qu’on l’appelle.",
		"潮は呼ばなくても戻ってきます。",
		"潮水不用叫，也会回来。",
		"يعود المدّ دون أن يناديه أحد.",
		"ज्वार बिना बुलाए लौट आता है।",
		"Η παλίρροια επιστρέφει χωρίς να την καλέσει κανείς.",
		"Прилив возвращается, хотя его никто не звал.",
		"밀물은 부르지 않아도 돌아옵니다.",
		"Thu\u0309y trie\u0302\u0300u tro\u031B\u0309 la\u0323i ma\u0300 kho\u0302ng ca\u0302\u0300n ai go\u0323i.",
	}},
	{"A bridge belongs to both banks.", [...]string{
		"Eine Brücke gehört beiden Ufern.",
		"Un pont appartient aux deux rives.",
		"橋は両岸のものです。",
		"桥属于两岸。",
		"الجسر ملك للضفتين.",
		"पुल दोनों किनारों का होता है।",
		"Η γέφυρα ανήκει και στις δύο όχθες.",
		"Мост принадлежит обоим берегам.",
		"다리는 양쪽 강기슭의 것입니다.",
		"Ca\u0302y ca\u0302\u0300u thuo\u0323\u0302c ve\u0302\u0300 ca\u0309 hai bo\u031B\u0300.",
	}},
	{"What is written stays written.", [...]string{
		"Was geschrieben steht, wird nicht geändert.",
		"Ce qui est écrit reste écrit.",
		"書かれたものは、書かれたまま残ります。",
		"写下的，就留下了。",
		"ما كُتب يبقى مكتوبًا.",
		"जो लिखा गया, वह लिखा रहता है।",
		"Ό,τι γράφτηκε μένει γραμμένο.",
		"Что написано, то остаётся написанным.",
		"한번 쓴 것은 그대로 남습니다.",
		"Đie\u0302\u0300u đa\u0303 vie\u0302\u0301t thi\u0300 co\u0300n ma\u0303i.",
	}},
	{"Whoever plants a tree is in no hurry.", [...]string{
		"Wer Bäume pflanzt, hat es nicht eilig.",
		"Qui plante un arbre n’est pas pressé.",
		"木を植える人は急ぎません。",
		"种树的人不着急。",
		"من يغرس شجرة لا يستعجل.",
		"जो पेड़ लगाता है, वह जल्दी में नहीं होता।",
		"Όποιος φυτεύει δέντρα δεν βιάζεται.",
		"Кто сажает дерево, тот не спешит.",
		"나무를 심는 사람은 서두르지 않습니다.",
		"Ngu\u031Bo\u031B\u0300i tro\u0302\u0300ng ca\u0302y kho\u0302ng vo\u0323\u0302i va\u0300ng.",
	}},
	{"Every reader has a bookmark of their own.", [...]string{
		"Für jeden Leser gibt es ein eigenes Lesezeichen.",
		"Chaque lecteur a son propre marque-page.",
		"読者はそれぞれ自分のしおりを持っています。",
		"每位读者都有自己的书签。",
		"لكل قارئ علامته الخاصة في الكتاب.",
		"हर पाठक का अपना बुकमार्क होता है।",
		"Κάθε αναγνώστης έχει τον δικό του σελιδοδείκτη.",
		"У каждого читателя своя закладка.",
		"독자마다 자기만의 책갈피가 있습니다.",
		"Mo\u0302\u0303i đo\u0323\u0302c gia\u0309 đe\u0302\u0300u co\u0301 da\u0302\u0301u trang cu\u0309a rie\u0302ng mi\u0300nh.",
	}},
	{"Even a fine number is given out only once.", [...]string{
		"Auch eine schöne Nummer wird nur einmal vergeben.",
		"Même un beau numéro ne sert qu’une seule fois.",
		"きれいな番号でも、使うのは一度だけです。",
		"再好看的号码，也只用一次。",
		"حتى الرقم الجميل لا يُستخدم إلا مرة واحدة.",
		"सुंदर संख्या भी केवल एक बार दी जाती है।",
		"Ακόμη και ένας ωραίος αριθμός δίνεται μόνο μία φορά.",
		"Даже красивый номер выдают только один раз.",
		"아무리 예쁜 번호라도 한 번만 씁니다.",
		"Du\u0300 la\u0300 so\u0302\u0301 đe\u0323p cu\u0303ng chi\u0309 đu\u031Bo\u031B\u0323c ca\u0302\u0301p mo\u0323\u0302t la\u0302\u0300n.",
	}},
	{"The river flows on when nobody is watching.", [...]string{
		"Der Fluss fließt weiter, auch wenn niemand zusieht.",
		"La rivière coule même quand personne ne regarde.",
		"誰も見ていなくても、川は流れ続けます。",
		"没有人看，河水也照样流。",
		"النهر يجري حتى حين لا ينظر إليه أحد.",
		"कोई देखे या न देखे, नदी बहती रहती है।",
		"Το ποτάμι κυλά ακόμη κι όταν δεν το κοιτάζει κανείς.",
		"Река течёт, даже когда на неё никто не смотрит.",
		"아무도 보지 않아도 강물은 흐릅니다.",
		"Do\u0300ng so\u0302ng va\u0302\u0303n cha\u0309y du\u0300 kho\u0302ng ai nhi\u0300n.",
	}},
}
