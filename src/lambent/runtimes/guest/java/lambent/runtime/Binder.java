package lambent.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/** Turns parsed JSON into the type that a handler wants. Throws IllegalArgumentException when it does not fit. */
final class Binder {
    private static final long SECONDS_BELOW = 100000000000L; // as seconds the year 5138, as milliseconds 1973

    private Binder() {}

    static Object bind(Object value, Type wanted) {
        Type type = Generics.boundOf(wanted);
        Class<?> raw = Generics.rawClass(type);
        if (raw == Object.class) {
            return value;
        }
        if (value == null) {
            return absent(raw);
        }
        if (raw == Optional.class) {
            return Optional.ofNullable(bind(value, Generics.parametersOf(type, Optional.class)[0]));
        }
        if (Map.class.isAssignableFrom(raw)) {
            return map(value, type, raw);
        }
        if (Collection.class.isAssignableFrom(raw) || raw == Iterable.class) {
            return collection(value, type, raw);
        }
        if (raw.isArray()) {
            return array(value, type, raw);
        }
        if (value instanceof Map && !isScalar(raw)) {
            return bean(asObject(value), type, raw);
        }
        if (value instanceof Map || value instanceof List) {
            throw mismatch(value, raw);
        }
        return scalar(value, raw);
    }

    private static Object absent(Class<?> raw) {
        if (raw == Optional.class) {
            return Optional.empty();
        }
        return raw.isPrimitive() && raw != void.class ? Array.get(Array.newInstance(raw, 1), 0) : null;
    }

    private static boolean isScalar(Class<?> raw) {
        return raw.isPrimitive() || raw.isEnum() || raw == String.class || Number.class.isAssignableFrom(raw)
                || raw == Boolean.class || raw == Character.class || raw == CharSequence.class;
    }

    private static Object map(Object value, Type type, Class<?> raw) {
        if (!(value instanceof Map)) {
            throw mismatch(value, raw);
        }
        Type[] parameters = Generics.parametersOf(type, Map.class);
        Map<Object, Object> map = raw == Map.class || raw.isAssignableFrom(LinkedHashMap.class)
                ? new LinkedHashMap<Object, Object>()
                : SortedMap.class.isAssignableFrom(raw) && raw.isInterface()
                        ? new TreeMap<Object, Object>()
                        : Binder.<Map<Object, Object>>construct(raw);
        for (Map.Entry<String, Object> entry : asObject(value).entrySet()) {
            map.put(bind(entry.getKey(), parameters[0]), bind(entry.getValue(), parameters[1]));
        }
        return map;
    }

    private static Object collection(Object value, Type type, Class<?> raw) {
        if (!(value instanceof List)) {
            throw mismatch(value, raw);
        }
        Type item = Generics.parametersOf(type, raw == Iterable.class ? Iterable.class : Collection.class)[0];
        Collection<Object> items = emptyCollection(raw);
        for (Object each : (List<?>) value) {
            items.add(bind(each, item));
        }
        return items;
    }

    private static Collection<Object> emptyCollection(Class<?> raw) {
        if (raw.isAssignableFrom(ArrayList.class)) {
            return new ArrayList<Object>();
        }
        if (raw.isAssignableFrom(LinkedHashSet.class)) {
            return new LinkedHashSet<Object>();
        }
        if (SortedSet.class.isAssignableFrom(raw) && raw.isInterface()) {
            return new TreeSet<Object>();
        }
        if (Queue.class.isAssignableFrom(raw) && raw.isInterface()) {
            return new ArrayDeque<Object>();
        }
        return Binder.<Collection<Object>>construct(raw);
    }

    private static Object array(Object value, Type type, Class<?> raw) {
        if (raw == byte[].class && value instanceof String) {
            return Base64.getDecoder().decode((String) value);
        }
        if (!(value instanceof List)) {
            throw mismatch(value, raw);
        }
        Type item = type instanceof GenericArrayType ? ((GenericArrayType) type).getGenericComponentType() : raw.getComponentType();
        List<?> items = (List<?>) value;
        Object array = Array.newInstance(raw.getComponentType(), items.size());
        for (int i = 0; i < items.size(); i++) {
            Array.set(array, i, bind(items.get(i), item));
        }
        return array;
    }

    private static Object bean(Map<String, Object> object, Type type, Class<?> raw) {
        Bean bean = Bean.of(raw);
        try {
            return bean.components() != null ? record(bean, object, type) : fill(bean, object, type);
        } catch (InvocationTargetException e) {
            throw Fault.<RuntimeException>sneak(e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException(e.getMessage(), e);
        }
    }

    private static Object fill(Bean bean, Map<String, Object> object, Type type) throws ReflectiveOperationException {
        Object made = bean.newInstance();
        for (Map.Entry<String, Object> entry : object.entrySet()) {
            Bean.Setter setter = bean.setter(entry.getKey());
            if (setter != null) {
                setter.set(made, bind(entry.getValue(), Generics.resolve(setter.type, type)));
            }
        }
        return made;
    }

    private static Object record(Bean bean, Map<String, Object> object, Type type) throws ReflectiveOperationException {
        Method[] components = bean.components();
        Object[] values = new Object[components.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = bind(object.get(components[i].getName()), Generics.resolve(components[i].getGenericReturnType(), type));
        }
        return bean.newRecord(values);
    }

    private static Object scalar(Object value, Class<?> raw) {
        if (raw == String.class || raw == CharSequence.class) {
            return value.toString();
        }
        if (raw == boolean.class || raw == Boolean.class) {
            return flag(value, raw);
        }
        if (raw.isPrimitive() && raw != char.class || Number.class.isAssignableFrom(raw)) {
            return number(value, raw);
        }
        String text = value.toString();
        if (raw == char.class || raw == Character.class) {
            if (text.length() == 1) {
                return text.charAt(0);
            }
            throw mismatch(value, raw);
        }
        if (raw.isEnum()) {
            return constant(text, raw);
        }
        if (raw == ByteBuffer.class) {
            return ByteBuffer.wrap(Base64.getDecoder().decode(text));
        }
        return raw == Date.class || raw == Instant.class ? moment(value, raw) : fromText(text, value, raw);
    }

    private static Object flag(Object value, Class<?> raw) {
        if (value instanceof Boolean) {
            return value;
        }
        if ("true".equals(value) || "false".equals(value)) {
            return "true".equals(value);
        }
        throw mismatch(value, raw);
    }

    private static Object number(Object value, Class<?> raw) {
        BigDecimal number;
        try {
            number = new BigDecimal(value.toString());
        } catch (NumberFormatException e) {
            throw mismatch(value, raw);
        }
        if (raw == int.class || raw == Integer.class) {
            return inRange(number, Integer.MIN_VALUE, Integer.MAX_VALUE, value, raw).intValue();
        }
        if (raw == long.class || raw == Long.class) {
            return inRange(number, Long.MIN_VALUE, Long.MAX_VALUE, value, raw).longValue();
        }
        if (raw == double.class || raw == Double.class) {
            return number.doubleValue();
        }
        if (raw == float.class || raw == Float.class) {
            return number.floatValue();
        }
        if (raw == short.class || raw == Short.class) {
            return inRange(number, Short.MIN_VALUE, Short.MAX_VALUE, value, raw).shortValue();
        }
        if (raw == byte.class || raw == Byte.class) {
            return inRange(number, Byte.MIN_VALUE, Byte.MAX_VALUE, value, raw).byteValue();
        }
        if (raw == BigInteger.class) {
            return number.toBigInteger();
        }
        if (raw == BigDecimal.class) {
            return number;
        }
        if (raw == Number.class && value instanceof Number) {
            return value;
        }
        return fromText(value.toString(), value, raw); // AtomicLong and the like
    }

    private static BigDecimal inRange(BigDecimal number, long least, long most, Object value, Class<?> raw) {
        if (number.compareTo(BigDecimal.valueOf(least)) < 0 || number.compareTo(BigDecimal.valueOf(most)) > 0) {
            throw mismatch(value, raw);
        }
        return number;
    }

    private static Object constant(String name, Class<?> raw) {
        for (Object constant : raw.getEnumConstants()) {
            if (((Enum<?>) constant).name().equals(name)) {
                return constant;
            }
        }
        throw new IllegalArgumentException("Cannot deserialize value of type `" + raw.getName() + "` from String \"" + name
                + "\": not one of the values accepted for Enum class");
    }

    /** Times are ISO 8601, milliseconds, or the seconds that streams send: whole (DynamoDB) or with a fraction (Kinesis). */
    private static Object moment(Object value, Class<?> raw) {
        Instant instant;
        if (value instanceof Double) {
            instant = Instant.ofEpochMilli(Math.round((Double) value * 1000));
        } else if (value instanceof Number) {
            long number = ((Number) value).longValue();
            instant = Math.abs(number) < SECONDS_BELOW ? Instant.ofEpochSecond(number) : Instant.ofEpochMilli(number);
        } else {
            try {
                instant = java.time.OffsetDateTime.parse(value.toString()).toInstant();
            } catch (java.time.DateTimeException e) {
                throw mismatch(value, raw);
            }
        }
        return raw == Date.class ? (Object) Date.from(instant) : instant;
    }

    /** Classes that read text: a static parse, fromString, valueOf, create or of; or a constructor (Joda's take an Object). */
    private static Object fromText(String text, Object value, Class<?> raw) {
        try {
            for (String name : new String[] {"parse", "fromString", "valueOf", "create", "of"}) {
                for (Class<?> parameter : new Class<?>[] {CharSequence.class, String.class}) {
                    Method method = methodOrNull(raw, name, parameter);
                    if (method != null && Modifier.isStatic(method.getModifiers()) && raw.isAssignableFrom(method.getReturnType())) {
                        return method.invoke(null, text);
                    }
                }
            }
            for (Class<?> parameter : new Class<?>[] {String.class, Object.class}) {
                Constructor<?> constructor = constructorOrNull(raw, parameter);
                if (constructor != null) {
                    return constructor.newInstance(parameter == Object.class ? value : text);
                }
            }
        } catch (InvocationTargetException e) {
            throw new IllegalArgumentException(mismatch(value, raw).getMessage() + ": " + e.getCause(), e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException(mismatch(value, raw).getMessage(), e);
        }
        throw mismatch(value, raw);
    }

    private static Method methodOrNull(Class<?> raw, String name, Class<?> parameter) {
        try {
            return raw.getMethod(name, parameter);
        } catch (NoSuchMethodException e) {
            return null;
        }
    }

    private static Constructor<?> constructorOrNull(Class<?> raw, Class<?> parameter) {
        try {
            return raw.getConstructor(parameter);
        } catch (NoSuchMethodException e) {
            return null;
        }
    }

    @SuppressWarnings("unchecked")
    private static <T> T construct(Class<?> raw) {
        try {
            return (T) Bean.of(raw).newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException(e.getMessage(), e);
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> asObject(Object value) {
        return (Map<String, Object>) value;
    }

    private static IllegalArgumentException mismatch(Object value, Class<?> raw) {
        String kind = value instanceof Map ? "Object value" : value instanceof List ? "Array value" : "value " + value;
        return new IllegalArgumentException("Cannot deserialize value of type `" + raw.getTypeName() + "` from " + kind);
    }
}
