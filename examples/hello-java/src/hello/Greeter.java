package hello;

import java.util.Map;

/** A handler needs no interface and no library: `hello.Greeter::greet` names the method, and it takes JSON as a map. */
public class Greeter {
    public Map<String, Object> greet(Map<String, Object> event) {
        Object name = event.getOrDefault("name", "world");
        System.out.println("greeting " + name);
        return Map.of("greeting", "Hello, " + name + "!");
    }
}
