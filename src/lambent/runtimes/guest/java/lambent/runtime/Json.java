package lambent.runtime;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON text as maps, lists, strings, numbers and booleans. Writing is in JsonWriter. */
final class Json {
    static final byte[] NULL = {'n', 'u', 'l', 'l'};
    private static final int DEPTH_MAX = 1000;

    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /** Throws IllegalArgumentException, which says where the text is not JSON. */
    static Object parse(String text) {
        Json json = new Json(text);
        json.space();
        Object value = json.value();
        json.space();
        if (json.at < text.length()) {
            throw json.unexpected();
        }
        return value;
    }

    static byte[] write(Object value) {
        StringBuilder out = new StringBuilder(256);
        new JsonWriter(out).write(value);
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    private Object value() {
        char next = at < text.length() ? text.charAt(at) : 0;
        switch (next) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object() {
        Map<String, Object> object = new LinkedHashMap<String, Object>();
        enter();
        if (!take('}')) {
            do {
                space();
                if (at >= text.length() || text.charAt(at) != '"') {
                    throw unexpected();
                }
                String key = string();
                space();
                need(':');
                space();
                object.put(key, value());
                space();
            } while (take(','));
            need('}');
        }
        depth--;
        return object;
    }

    private List<Object> array() {
        List<Object> array = new ArrayList<Object>();
        enter();
        if (!take(']')) {
            do {
                space();
                array.add(value());
                space();
            } while (take(','));
            need(']');
        }
        depth--;
        return array;
    }

    private void enter() {
        if (++depth > DEPTH_MAX) {
            throw new IllegalArgumentException("JSON is nested deeper than " + DEPTH_MAX + " levels");
        }
        at++;
        space();
    }

    private String string() {
        int start = ++at;
        while (at < text.length()) {
            char next = text.charAt(at);
            if (next == '"') {
                return text.substring(start, at++);
            }
            if (next == '\\') {
                return escapedString(start);
            }
            if (next < ' ') {
                throw unexpected();
            }
            at++;
        }
        throw unexpected();
    }

    private String escapedString(int start) {
        StringBuilder string = new StringBuilder(text.length() > start + 64 ? 64 : 16).append(text, start, at);
        while (at < text.length()) {
            char next = text.charAt(at++);
            if (next == '"') {
                return string.toString();
            }
            if (next < ' ') {
                at--;
                throw unexpected();
            }
            string.append(next == '\\' ? escape() : next);
        }
        throw unexpected();
    }

    private char escape() {
        char next = at < text.length() ? text.charAt(at++) : 0;
        int known = "\"\\/bfnrt".indexOf(next);
        if (known >= 0 && next != 0) {
            return "\"\\/\b\f\n\r\t".charAt(known);
        }
        if (next != 'u' || at + 4 > text.length()) {
            throw unexpected();
        }
        int code = 0;
        for (int i = 0; i < 4; i++) {
            int digit = Character.digit(text.charAt(at++), 16);
            if (digit < 0) {
                throw unexpected();
            }
            code = code << 4 | digit;
        }
        return (char) code;
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw unexpected();
        }
        at += word.length();
        return value;
    }

    private Object number() {
        int start = at;
        boolean decimal = false;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            char next = text.charAt(at++);
            decimal |= next == '.' || next == 'e' || next == 'E';
        }
        String digits = text.substring(start, at);
        if (digits.isEmpty()) {
            throw unexpected();
        }
        try {
            if (decimal) {
                return Double.valueOf(new BigDecimal(digits).doubleValue());
            }
            if (digits.length() < 19) {
                long number = Long.parseLong(digits);
                if (number == (int) number) {
                    return Integer.valueOf((int) number);
                }
                return Long.valueOf(number);
            }
            BigInteger number = new BigInteger(digits);
            if (number.bitLength() < 64) {
                return Long.valueOf(number.longValue());
            }
            return number;
        } catch (NumberFormatException e) {
            at = start;
            throw unexpected();
        }
    }

    private void space() {
        while (at < text.length() && text.charAt(at) <= ' ') {
            at++;
        }
    }

    private boolean take(char wanted) {
        if (at < text.length() && text.charAt(at) == wanted) {
            at++;
            return true;
        }
        return false;
    }

    private void need(char wanted) {
        if (!take(wanted)) {
            throw unexpected();
        }
    }

    private IllegalArgumentException unexpected() {
        String what = at < text.length() ? "character '" + text.charAt(at) + "'" : "end";
        return new IllegalArgumentException("Unexpected " + what + " at position " + at + " of the JSON text");
    }
}
