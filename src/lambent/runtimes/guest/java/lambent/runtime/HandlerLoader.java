package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;

/**
 * Finds the handler that a function's configuration names: "package.Class", which implements one of Lambda's interfaces, or
 * "package.Class::method" with any of the signatures of https://docs.aws.amazon.com/lambda/latest/dg/java-handler.html.
 */
final class HandlerLoader {
    private HandlerLoader() {}

    static Handler load(String name, ClassLoader loader) {
        String className = name;
        String methodName = null;
        int colons = name.indexOf("::");
        if (colons >= 0) {
            className = name.substring(0, colons);
            methodName = name.substring(colons + 2);
        }
        if (className.isEmpty() || (methodName != null && (methodName.isEmpty() || methodName.contains("::")))) {
            throw new Fault("Invalid handler: `" + name + "'");
        }
        Class<?> type = loadClass(className, loader);
        JsonMapper mapper = JsonMapper.forFunction(loader);
        return methodName == null ? byInterface(type, mapper) : byMethod(type, methodName, mapper);
    }

    private static Class<?> loadClass(String name, ClassLoader loader) {
        try {
            return Class.forName(name, true, loader);
        } catch (ClassNotFoundException e) {
            throw new Fault("Class not found: " + name, e, false);
        } catch (Throwable e) { // what a static initialiser throws
            String message = e.getMessage() == null ? "" : ": " + e.getMessage();
            throw new Fault("Error loading class " + name + message, e, true);
        }
    }

    private static Handler byInterface(Class<?> type, JsonMapper mapper) {
        if (RequestStreamHandler.class.isAssignableFrom(type)) {
            final RequestStreamHandler handler = (RequestStreamHandler) instantiate(type);
            return new Handler() {
                @Override
                public byte[] handle(byte[] event, InvocationContext context) throws Throwable {
                    ByteArrayOutputStream output = new ByteArrayOutputStream(1024);
                    handler.handleRequest(new ByteArrayInputStream(event), output, context);
                    return output.toByteArray();
                }
            };
        }
        if (!RequestHandler.class.isAssignableFrom(type)) {
            throw new Fault("Class does not implement an appropriate handler interface: " + type.getName());
        }
        Type[] types = Generics.parametersOf(type, RequestHandler.class);
        for (Type parameter : types) {
            if (parameter instanceof TypeVariable && Generics.boundOf(parameter) == Object.class) {
                throw new Fault("Class " + type.getName() + " does not implement RequestHandler with concrete type parameters: "
                        + "parameter " + parameter + " has no upper bound.");
            }
        }
        @SuppressWarnings("unchecked")
        final RequestHandler<Object, Object> handler = (RequestHandler<Object, Object>) instantiate(type);
        return new ObjectHandler(mapper, types[0], types[1]) {
            @Override
            Object call(Object event, Context context) {
                return handler.handleRequest(event, context);
            }
        };
    }

    /** Between the JSON of an event and the objects of a handler. */
    private abstract static class ObjectHandler implements Handler {
        private final JsonMapper mapper;
        private final Type inputType; // null: the handler takes no event
        private final Type outputType;

        ObjectHandler(JsonMapper mapper, Type inputType, Type outputType) {
            this.mapper = mapper;
            this.inputType = inputType;
            this.outputType = outputType;
        }

        abstract Object call(Object event, Context context) throws Throwable;

        @Override
        public byte[] handle(byte[] event, InvocationContext context) throws Throwable {
            Object input = null;
            if (inputType != null) {
                try {
                    input = mapper.read(event, inputType);
                } catch (Throwable e) {
                    throw new RuntimeException("An error occurred during JSON parsing", Fault.withoutOurFrames(e));
                }
            }
            Object output = call(input, context);
            if (outputType == void.class || outputType == Void.class) {
                return Json.NULL;
            }
            try {
                return mapper.write(output, outputType);
            } catch (Throwable e) {
                throw new RuntimeException("An error occurred during JSON serialization of response", e);
            }
        }
    }

    private static Handler byMethod(Class<?> type, String name, JsonMapper mapper) {
        List<Method> overloads = new ArrayList<Method>();
        try {
            for (Method method : type.getMethods()) {
                if (method.getName().equals(name)) {
                    overloads.add(method);
                }
            }
        } catch (NoClassDefFoundError e) {
            throw new Fault("Error loading method " + name + " on class " + type.getName(), e, false);
        }
        Collections.sort(overloads, LONGEST_FIRST);
        for (Method method : overloads) {
            Handler handler = wrap(type, method, mapper);
            if (handler != null) {
                return handler;
            }
        }
        throw new Fault("No public method named " + name + " with appropriate method signature found on class " + type.getName());
    }

    /** Real methods before the compiler's bridges; long signatures first, a Context at the end counting twice. */
    private static final Comparator<Method> LONGEST_FIRST = new Comparator<Method>() {
        @Override
        public int compare(Method left, Method right) {
            if (left.isBridge() != right.isBridge()) {
                return left.isBridge() ? 1 : -1;
            }
            return Integer.compare(weight(right), weight(left));
        }

        private int weight(Method method) {
            Class<?>[] types = method.getParameterTypes();
            return types.length + (types.length > 0 && types[types.length - 1] == Context.class ? 1 : 0);
        }
    };

    /** Null for a signature that is not a handler's. */
    private static Handler wrap(Class<?> type, final Method method, JsonMapper mapper) {
        final Class<?>[] types = method.getParameterTypes();
        final boolean hasContext = types.length > 0 && types[types.length - 1] == Context.class;
        int events = types.length - (hasContext ? 1 : 0);
        boolean streams = false;
        for (int i = 0; i < events; i++) {
            if (types[i] == Context.class) {
                return null;
            }
            streams |= types[i] == InputStream.class || types[i] == OutputStream.class;
        }
        if (streams) {
            boolean both = events == 2 && types[0] == InputStream.class && types[1] == OutputStream.class;
            return events == 1 || both ? streamMethod(type, method, types) : null;
        }
        if (events > 1) {
            return null;
        }
        final Object instance = Modifier.isStatic(method.getModifiers()) ? null : instantiate(type);
        Type input = events == 1 ? method.getGenericParameterTypes()[0] : null;
        final boolean hasEvent = input != null;
        return new ObjectHandler(mapper, input, method.getGenericReturnType()) {
            @Override
            Object call(Object event, Context context) throws Throwable {
                Object[] arguments = hasEvent
                        ? (hasContext ? new Object[] {event, context} : new Object[] {event})
                        : (hasContext ? new Object[] {context} : new Object[0]);
                return invoke(method, instance, arguments);
            }
        };
    }

    private static Handler streamMethod(Class<?> type, final Method method, final Class<?>[] types) {
        final Object instance = Modifier.isStatic(method.getModifiers()) ? null : instantiate(type);
        return new Handler() {
            @Override
            public byte[] handle(byte[] event, InvocationContext context) throws Throwable {
                ByteArrayOutputStream output = new ByteArrayOutputStream(1024);
                Object[] arguments = new Object[types.length];
                for (int i = 0; i < types.length; i++) {
                    if (types[i] == InputStream.class) {
                        arguments[i] = new ByteArrayInputStream(event);
                    } else {
                        arguments[i] = types[i] == OutputStream.class ? output : context;
                    }
                }
                invoke(method, instance, arguments);
                return output.toByteArray();
            }
        };
    }

    private static Object invoke(Method method, Object instance, Object[] arguments) throws Throwable {
        try {
            return method.invoke(instance, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }

    private static Object instantiate(Class<?> type) {
        try {
            Constructor<?> constructor = type.getConstructor();
            return constructor.newInstance();
        } catch (NoSuchMethodException e) {
            boolean inner = type.getEnclosingClass() != null && !Modifier.isStatic(type.getModifiers());
            Exception cause = inner
                    ? new Exception("Class " + type.getName() + " cannot be instantiated because it is a non-static inner class")
                    : new Exception("Class " + type.getName() + " has no public zero-argument constructor", e);
            throw new Fault(cause.getMessage(), cause, false);
        } catch (InvocationTargetException e) {
            Throwable thrown = e.getCause() == null ? e : e.getCause();
            throw new Fault(Fault.messageOf(thrown), thrown, true);
        } catch (InstantiationException | IllegalAccessException e) {
            throw new Fault(Fault.messageOf(e), e, false);
        }
    }
}
