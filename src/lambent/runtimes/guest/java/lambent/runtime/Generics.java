package lambent.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.util.HashMap;
import java.util.Map;

/** What generic declarations say about types. */
final class Generics {
    private Generics() {}

    /** The arguments that `type` gives to a generic interface or class it derives from; its bounds where it gives none. */
    static Type[] parametersOf(Type type, Class<?> ancestor) {
        Type[] found = search(type, ancestor, new HashMap<TypeVariable<?>, Type>());
        return found == null ? ancestor.getTypeParameters() : found;
    }

    private static Type[] search(Type type, Class<?> ancestor, Map<TypeVariable<?>, Type> known) {
        Class<?> raw = rawClass(type);
        if (type instanceof ParameterizedType) {
            Type[] arguments = ((ParameterizedType) type).getActualTypeArguments();
            TypeVariable<?>[] variables = raw.getTypeParameters();
            for (int i = 0; i < variables.length; i++) {
                Type argument = arguments[i];
                known.put(variables[i], known.containsKey(argument) ? known.get(argument) : argument);
            }
        }
        if (raw == ancestor) {
            Type[] found = new Type[raw.getTypeParameters().length];
            for (int i = 0; i < found.length; i++) {
                TypeVariable<?> variable = raw.getTypeParameters()[i];
                found[i] = known.containsKey(variable) ? known.get(variable) : variable;
            }
            return found;
        }
        for (Type parent : raw.getGenericInterfaces()) {
            Type[] found = ancestor.isAssignableFrom(rawClass(parent)) ? search(parent, ancestor, known) : null;
            if (found != null) {
                return found;
            }
        }
        Type parent = raw.getGenericSuperclass();
        return parent != null && ancestor.isAssignableFrom(rawClass(parent)) ? search(parent, ancestor, known) : null;
    }

    /** A type variable's or wildcard's upper bound; any other type itself. */
    static Type boundOf(Type type) {
        if (type instanceof TypeVariable) {
            return boundOf(((TypeVariable<?>) type).getBounds()[0]);
        }
        return type instanceof WildcardType ? boundOf(((WildcardType) type).getUpperBounds()[0]) : type;
    }

    static Class<?> rawClass(Type type) {
        Type bound = boundOf(type);
        if (bound instanceof Class) {
            return (Class<?>) bound;
        }
        if (bound instanceof ParameterizedType) {
            return rawClass(((ParameterizedType) bound).getRawType());
        }
        return Array.newInstance(rawClass(((GenericArrayType) bound).getGenericComponentType()), 0).getClass();
    }

    /** A member's type, with the variables of the generic class that holds it replaced. */
    static Type resolve(Type member, Type holder) {
        if (member instanceof TypeVariable && holder instanceof ParameterizedType) {
            TypeVariable<?>[] variables = rawClass(holder).getTypeParameters();
            for (int i = 0; i < variables.length; i++) {
                if (variables[i].equals(member)) {
                    return ((ParameterizedType) holder).getActualTypeArguments()[i];
                }
            }
        }
        return member;
    }
}
