package lambent.runtime;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The properties of a class: what JSON can set and what it shows. Names are matched as they are, then without regard to case
 * and hyphens: AWS's event classes say getRecords for "Records", getEventSourceArn for "eventSourceARN" and getDetailType for
 * "detail-type".
 */
final class Bean {
    private static final Map<Class<?>, Bean> KNOWN = new ConcurrentHashMap<Class<?>, Bean>();

    private final Class<?> type;
    private final Map<String, Setter> setters = new HashMap<String, Setter>(); // by exact and by lower-case name
    private final List<Getter> getters;
    private final Method[] components; // of a record; null otherwise

    private Bean(Class<?> type) {
        this.type = type;
        this.components = recordComponents(type);
        this.getters = components == null ? findGetters() : componentGetters();
        findSetters();
    }

    static Bean of(Class<?> type) {
        Bean bean = KNOWN.get(type);
        if (bean == null) {
            bean = new Bean(type);
            KNOWN.put(type, bean);
        }
        return bean;
    }

    /** Reads one property. */
    static final class Getter {
        final String name;
        private final Method method;
        private final Field field;

        Getter(String name, Method method, Field field) {
            this.name = name;
            this.method = method;
            this.field = field;
        }

        Object get(Object bean) {
            try {
                return method != null ? method.invoke(bean) : field.get(bean);
            } catch (InvocationTargetException e) {
                throw Fault.<RuntimeException>sneak(e.getCause());
            } catch (IllegalAccessException e) {
                throw new IllegalStateException("Cannot read " + name + ": " + e.getMessage(), e);
            }
        }
    }

    /** Writes one property. */
    static final class Setter {
        final Type type;
        private final Method method;
        private final Field field;

        Setter(Type type, Method method, Field field) {
            this.type = type;
            this.method = method;
            this.field = field;
        }

        void set(Object bean, Object value) throws ReflectiveOperationException {
            if (method != null) {
                method.invoke(bean, value);
            } else {
                field.set(bean, value);
            }
        }
    }

    List<Getter> getters() {
        return getters;
    }

    /** Null when the class has no such property: JSON may say more than a class wants to know. */
    Setter setter(String name) {
        Setter exact = setters.get(name);
        return exact != null ? exact : setters.get(name.toLowerCase(Locale.ROOT).replace("-", ""));
    }

    /** The accessors of a record's components in their order; null for a class that is none. */
    Method[] components() {
        return components;
    }

    Object newRecord(Object[] values) throws ReflectiveOperationException {
        Class<?>[] types = new Class<?>[components.length];
        for (int i = 0; i < types.length; i++) {
            types[i] = components[i].getReturnType();
        }
        Constructor<?> constructor = type.getDeclaredConstructor(types);
        constructor.setAccessible(true);
        return constructor.newInstance(values);
    }

    /** By the constructor without arguments; without one, as deserialization does it, with no constructor run. */
    Object newInstance() throws ReflectiveOperationException {
        if (type.isInterface() || Modifier.isAbstract(type.getModifiers())) {
            throw new InstantiationException("Cannot construct instance of `" + type.getName()
                    + "`: abstract types cannot be instantiated");
        }
        Constructor<?> constructor;
        try {
            constructor = type.getDeclaredConstructor();
        } catch (NoSuchMethodException e) {
            Class<?> factoryType = Class.forName("sun.reflect.ReflectionFactory");
            Object factory = factoryType.getMethod("getReflectionFactory").invoke(null);
            constructor = (Constructor<?>) factoryType
                    .getMethod("newConstructorForSerialization", Class.class, Constructor.class)
                    .invoke(factory, type, Object.class.getDeclaredConstructor());
        }
        constructor.setAccessible(true);
        return constructor.newInstance();
    }

    private void findSetters() {
        for (Class<?> at = type; at != null && at != Object.class; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers()) && !field.isSynthetic() && opened(field)) {
                    add(field.getName(), new Setter(field.getGenericType(), null, field), false);
                }
            }
        }
        for (Method method : type.getMethods()) {
            String name = method.getName();
            boolean isSetter = name.startsWith("set") && name.length() > 3 && method.getParameterTypes().length == 1;
            if (isSetter && !method.isBridge() && !Modifier.isStatic(method.getModifiers()) && opened(method)) {
                add(propertyName(name.substring(3)), new Setter(method.getGenericParameterTypes()[0], method, null), true);
            }
        }
    }

    /** A setter replaces the field it sets; among overloads the one with the getter's type is the property's. */
    private void add(String name, Setter setter, boolean replace) {
        for (String key : new String[] {name, name.toLowerCase(Locale.ROOT)}) {
            Setter known = setters.get(key);
            boolean better = known == null
                    || replace && (known.method == null || setter.type.equals(typeShown(name)));
            if (better) {
                setters.put(key, setter);
            }
        }
    }

    private Type typeShown(String name) {
        for (Getter getter : getters) {
            if (getter.name.equals(name) && getter.method != null) {
                return getter.method.getGenericReturnType();
            }
        }
        return null;
    }

    private List<Getter> componentGetters() {
        List<Getter> found = new ArrayList<Getter>();
        for (Method component : components) {
            if (opened(component)) {
                found.add(new Getter(component.getName(), component, null));
            }
        }
        return found;
    }

    private List<Getter> findGetters() {
        Map<String, Getter> byName = new TreeMap<String, Getter>();
        for (Method method : type.getMethods()) {
            String name = getterName(method);
            if (name != null && opened(method)) {
                byName.put(name, new Getter(name, method, null));
            }
        }
        for (Field field : type.getFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !byName.containsKey(field.getName()) && opened(field)) {
                byName.put(field.getName(), new Getter(field.getName(), null, field));
            }
        }
        Map<String, Getter> ordered = new LinkedHashMap<String, Getter>();
        inOrderOfFields(type, byName, ordered);
        ordered.putAll(byName);
        return new ArrayList<Getter>(ordered.values());
    }

    private static void inOrderOfFields(Class<?> type, Map<String, Getter> from, Map<String, Getter> to) {
        if (type == null) {
            return;
        }
        inOrderOfFields(type.getSuperclass(), from, to);
        for (Field field : type.getDeclaredFields()) {
            Getter getter = from.remove(field.getName());
            if (getter != null) {
                to.put(field.getName(), getter);
            }
        }
    }

    private static String getterName(Method method) {
        String name = method.getName();
        Class<?> shown = method.getReturnType();
        boolean plain = method.getParameterTypes().length == 0 && !Modifier.isStatic(method.getModifiers())
                && !method.isBridge() && method.getDeclaringClass() != Object.class && shown != void.class;
        if (!plain) {
            return null;
        }
        if (name.startsWith("get") && name.length() > 3) {
            return propertyName(name.substring(3));
        }
        boolean isFlag = name.startsWith("is") && name.length() > 2 && (shown == boolean.class || shown == Boolean.class);
        return isFlag ? propertyName(name.substring(2)) : null;
    }

    /** "Name" as "name", and "URL" as "url": all capitals at the front, as AWS's mapper does it. */
    private static String propertyName(String name) {
        int capitals = 0;
        while (capitals < name.length() && Character.isUpperCase(name.charAt(capitals))) {
            capitals++;
        }
        return name.substring(0, capitals).toLowerCase(Locale.ROOT) + name.substring(capitals);
    }

    private static boolean opened(java.lang.reflect.AccessibleObject member) {
        try {
            member.setAccessible(true);
            return true;
        } catch (RuntimeException closed) { // a class of the platform's own modules
            return false;
        }
    }

    private static Method[] recordComponents(Class<?> type) {
        if (type.getSuperclass() == null || !type.getSuperclass().getName().equals("java.lang.Record")) {
            return null;
        }
        try {
            Object[] components = (Object[]) Class.class.getMethod("getRecordComponents").invoke(type);
            Method[] accessors = new Method[components.length];
            for (int i = 0; i < components.length; i++) {
                accessors[i] = (Method) components[i].getClass().getMethod("getAccessor").invoke(components[i]);
            }
            return accessors;
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }
}
