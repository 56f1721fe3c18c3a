package oauth

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// lookAlikes are characters that people take for the letter or digit that begins the
// entry: accented and stylised ones, and those of other alphabets.
var lookAlikes = []string{
	"0⁰₀",
	"1¹₁",
	"2²₂",
	"3³₃",
	"4⁴₄",
	"5⁵₅",
	"6⁶₆",
	"7⁷₇",
	"8⁸₈",
	"9⁹₉",
	"aªàáâãäåāăąǎǟǡǻȁȃȧᴬᵃḁạảấầẩẫậắằẳẵặₐɑαάаӑӓᴀ",
	"bᴮᵇḃḅḇℬвьβƅʙꮟ",
	"cçćĉċčᶜḉℂℭⅽсϲᴄ",
	"dďᴰᵈḋḍḏḑḓⅅⅆⅾԁɗđᴅꓒ",
	"eèéêëēĕėęěȅȇȩᴱᵉḕḗḙḛḝẹẻẽếềểễệₑℯℰⅇеёєεέӗҽᴇ℮",
	"fᶠḟℱƒϝſꜰ",
	"gĝğġģǧǵᴳᵍḡℊɡɢց",
	"hĥȟʰᴴḣḥḧḩḫẖₕℋℌℍℎһнհʜ",
	"iìíîïĩīĭįİǐȉȋᴵᵢḭḯỉịⁱℐℑℹⅈⅰіїıιίɩɪꭵ",
	"jĵǰʲᴶⅉјϳʝᴊ",
	"kķǩᴷᵏḱḳḵₖкκĸᴋқ",
	"lĺļľˡᴸḷḹḻḽₗℒℓⅼӏłʟ׀ǀ",
	"mᴹᵐḿṁṃₘℳⅿмϻᴍ",
	"nñńņňǹᴺṅṇṉṋⁿₙℕпηήռɴո",
	"oºòóôõöōŏőơǒǫǭȍȏȫȭȯȱᴼᵒṍṏṑṓọỏốồổỗộớờởỡợₒℴоοόσօөøᴏ",
	"pᴾᵖṕṗₚℙрρϱᴘƿ",
	"qℚԛգɋ",
	"rŕŗřȑȓʳᴿᵣṙṛṝṟℛℜℝгɼʀꮁᴦ",
	"sśŝşšșˢṡṣṥṧṩẛₛѕꜱƽʂ",
	"tţťțᵀᵗṫṭṯṱẗₜтτŧᴛƫ",
	"uùúûüũūŭůűųưǔǖǘǚǜȕȗᵁᵘᵤṳṵṷṹṻụủứừửữựυύսʋцᴜи",
	"vᵛᵥṽṿⅴνѵᴠ",
	"wŵʷᵂẁẃẅẇẉẘѡԝωώшᴡɯ",
	"xˣẋẍₓⅹхχ×ҳ",
	"yýÿŷȳʸẏẙỳỵỷỹуγўүʏỿ",
	"zźżžᶻẑẓẕℤℨᴢƶʐ",
}

var foldTable = sync.OnceValue(func() map[rune]byte {
	table := make(map[rune]byte)
	for _, entry := range lookAlikes {
		for _, r := range entry[1:] {
			table[r] = entry[0]
		}
	}
	return table
})

// ligatures are characters that look like several.
var ligatures = map[rune]string{
	'æ': "ae", 'œ': "oe", 'ß': "ss", 'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "st", 'ﬆ': "st",
}

// Skeleton returns the letters and digits of a name as they look, without regard to
// capitals, accents, alphabet, spaces and what cannot be seen. Names with one skeleton
// are easily taken for each other.
func Skeleton(name string) string {
	return simplified(strings.Join(words(name), ""))
}

// LooksLike reports whether a name looks like another one, or has words that do.
func LooksLike(name, other string) bool {
	want := Skeleton(other)
	if want == "" {
		return false
	}
	list := words(name)
	for first := range list {
		joined := ""
		for _, word := range list[first:] {
			// Two letters may stand for one, no more.
			if joined += word; len(joined) > 2*len(want) {
				break
			}
			if simplified(joined) == want {
				return true
			}
		}
	}
	return false
}

// words returns the words of a name in folded letters and digits.
func words(name string) []string {
	var list []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			list = append(list, word.String())
			word.Reset()
		}
	}
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		name = name[size:]
		switch folded := fold(r); {
		case folded != "":
			word.WriteString(folded)
		case invisible(r):
		case word.Len() > 0 && startsWord(name) && symbols[r] != "":
			word.WriteString(symbols[r])
		case unicode.IsLetter(r), unicode.IsDigit(r):
			word.WriteRune(unicode.ToLower(r))
		default:
			end()
		}
	}
	end()
	return list
}

// symbols are taken for letters inside of a word.
var symbols = map[rune]string{'|': "l", '!': "l", '$': "s", '@': "a", '€': "e", '+': "t", '(': "c"}

// startsWord reports whether rest begins with a letter or digit.
func startsWord(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// digits is the letter that each digit is taken for; i, l and 1 are one.
const digits = "olzeasgtbg"

// fold returns what a letter or digit looks like, empty if it is none that is known.
func fold(r rune) string {
	if r < 0x80 {
		return foldASCII(byte(r))
	}
	if s, ok := ligatures[unicode.ToLower(r)]; ok {
		return foldAll(s)
	}
	switch {
	case 0xff01 <= r && r <= 0xff5e: // full width
		return foldASCII(byte(r - 0xff01 + '!'))
	case 0x1d400 <= r && r <= 0x1d6a3: // mathematical letters
		return foldASCII(byte('a' + (r-0x1d400)%26))
	case 0x1d7ce <= r && r <= 0x1d7ff:
		return foldASCII(byte('0' + (r-0x1d7ce)%10))
	case 0x249c <= r && r <= 0x24b5: // in parentheses, circles, squares; flags
		return foldASCII(byte('a' + r - 0x249c))
	case 0x24b6 <= r && r <= 0x24e9:
		return foldASCII(byte('a' + (r-0x24b6)%26))
	case 0x1f130 <= r && r <= 0x1f149:
		return foldASCII(byte('a' + r - 0x1f130))
	case 0x1f150 <= r && r <= 0x1f169:
		return foldASCII(byte('a' + r - 0x1f150))
	case 0x1f170 <= r && r <= 0x1f189:
		return foldASCII(byte('a' + r - 0x1f170))
	case 0x1f1e6 <= r && r <= 0x1f1ff:
		return foldASCII(byte('a' + r - 0x1f1e6))
	}
	table := foldTable()
	if b, ok := table[r]; ok {
		return foldASCII(b)
	}
	if b, ok := table[unicode.ToLower(r)]; ok {
		return foldASCII(b)
	}
	if lower := unicode.ToLower(r); lower < 0x80 { // the Kelvin sign
		return foldASCII(byte(lower))
	}
	return ""
}

func foldAll(s string) string {
	var out strings.Builder
	for i := range len(s) {
		out.WriteString(foldASCII(s[i]))
	}
	return out.String()
}

const asciiLetters = "abcdefghljklmnopqrstuvwxyz" // i is l

func foldASCII(b byte) string {
	switch {
	case 'A' <= b && b <= 'Z':
		b += 'a' - 'A'
		fallthrough
	case 'a' <= b && b <= 'z':
		return asciiLetters[b-'a' : b-'a'+1]
	case '0' <= b && b <= '9':
		return digits[b-'0' : b-'0'+1]
	}
	return ""
}

// invisible reports whether a character takes up no place of its own.
func invisible(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800: // fillers
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc)
}

// simplified replaces pairs of letters that look like one.
func simplified(s string) string {
	return pairs.Replace(s)
}

var pairs = strings.NewReplacer("rn", "m", "vv", "w")
