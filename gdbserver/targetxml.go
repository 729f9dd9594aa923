package gdbserver

import (
	"fmt"
	"strings"
	"sync"

	"kmdev/target"
)

// xmlType is a type's definition and the names of those it uses.
type xmlType struct {
	uses []string
	xml  string
}

// xmlTypes defines the types that registers have and gdb does not predefine ("Predefined Target Types"). A type is
// defined in each feature that uses it, after those that it uses.
var xmlTypes = sync.OnceValue(func() map[string]xmlType {
	return map[string]xmlType{
		"i386_eflags": {xml: flagsXML("i386_eflags", "CF:0 :1 PF:2 AF:4 ZF:6 SF:7 TF:8 IF:9 DF:10 OF:11 NT:14 RF:16 VM:17 AC:18 VIF:19 VIP:20 ID:21")},
		"i386_mxcsr":  {xml: flagsXML("i386_mxcsr", "IE:0 DE:1 ZE:2 OE:3 UE:4 PE:5 DAZ:6 IM:7 DM:8 ZM:9 OM:10 UM:11 PM:12 FZ:15")},
		"v8bf16":      {xml: vectorXML("v8bf16", "bfloat16", 8)},
		"v8h":         {xml: vectorXML("v8h", "ieee_half", 8)},
		"v4f":         {xml: vectorXML("v4f", "ieee_single", 4)},
		"v2d":         {xml: vectorXML("v2d", "ieee_double", 2)},
		"v16i8":       {xml: vectorXML("v16i8", "int8", 16)},
		"v8i16":       {xml: vectorXML("v8i16", "int16", 8)},
		"v4i32":       {xml: vectorXML("v4i32", "int32", 4)},
		"v2i64":       {xml: vectorXML("v2i64", "int64", 2)},
		"v2ui128":     {xml: vectorXML("v2ui128", "uint128", 2)},
		"vec128": {
			uses: []string{"v8bf16", "v8h", "v4f", "v2d", "v16i8", "v8i16", "v4i32", "v2i64"},
			xml: unionXML("vec128", "v8_bfloat16:v8bf16 v8_half:v8h v4_float:v4f v2_double:v2d v16_int8:v16i8 "+
				"v8_int16:v8i16 v4_int32:v4i32 v2_int64:v2i64 uint128:uint128"),
		},
	}
})

func vectorXML(id, typ string, count int) string {
	return fmt.Sprintf("<vector id=%q type=%q count=\"%d\"/>\n", id, typ, count)
}

// flagsXML makes a 4-byte flags type out of NAME:BIT words.
func flagsXML(id, fields string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<flags id=%q size=\"4\">\n", id)
	for _, f := range strings.Split(fields, " ") {
		name, bit, _ := strings.Cut(f, ":")
		fmt.Fprintf(&b, "<field name=%q start=%q end=%q type=\"bool\"/>\n", name, bit, bit)
	}
	return b.String() + "</flags>\n"
}

// unionXML makes a union out of NAME:TYPE words.
func unionXML(id, fields string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<union id=%q>\n", id)
	for f := range strings.SplitSeq(fields, " ") {
		name, typ, _ := strings.Cut(f, ":")
		fmt.Fprintf(&b, "<field name=%q type=%q/>\n", name, typ)
	}
	return b.String() + "</union>\n"
}

// targetXML is the target description ("Target Description Format"), the only annex being target.xml.
func (s *session) targetXML(annex string) ([]byte, error) {
	if annex != "target.xml" {
		return nil, &rspError{0, "there is no annex " + annex}
	}
	return describe(s.regs), nil
}

func describe(set *target.RegisterSet) []byte {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n" +
		"<architecture>i386:x86-64</architecture>\n<osabi>GNU/Linux</osabi>\n")
	regs := set.Registers
	for first := 0; first < len(regs); {
		end := first
		for end < len(regs) && regs[end].Feature == regs[first].Feature {
			end++
		}
		describeFeature(&b, regs[first:end], first)
		first = end
	}
	b.WriteString("</target>\n")
	return []byte(b.String())
}

func describeFeature(b *strings.Builder, regs []target.Register, number int) {
	fmt.Fprintf(b, "<feature name=%q>\n", regs[0].Feature)
	defined := map[string]bool{}
	for i := range regs {
		defineType(b, regs[i].Type, defined)
	}
	for i := range regs {
		r := &regs[i]
		fmt.Fprintf(b, "<reg name=%q bitsize=\"%d\" type=%q regnum=\"%d\"", r.Name, r.Bits, r.Type, number+i)
		if r.Group != "" {
			fmt.Fprintf(b, " group=%q", r.Group)
		}
		b.WriteString("/>\n")
	}
	b.WriteString("</feature>\n")
}

func defineType(b *strings.Builder, name string, defined map[string]bool) {
	t, ok := xmlTypes()[name]
	if !ok || defined[name] {
		return
	}
	defined[name] = true
	for _, u := range t.uses {
		defineType(b, u, defined)
	}
	b.WriteString(t.xml)
}
