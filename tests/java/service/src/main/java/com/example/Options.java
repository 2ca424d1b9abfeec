package com.example;

import java.util.HashMap;
import java.util.Map;

/** What the command line says, as --name=value, and how long a provider lives. */
public class Options {
    private final Map<String, String> values = new HashMap<>();

    public Options(String[] args) {
        for (String arg : args) {
            int equals = arg.indexOf('=');
            if (!arg.startsWith("--") || equals < 0) {
                throw new IllegalArgumentException("not --name=value: " + arg);
            }
            values.put(arg.substring(2, equals), arg.substring(equals + 1));
        }
    }

    /** Returns the text of an option, or null. */
    public String text(String name) {
        return values.get(name);
    }

    public String text(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }

    /** Returns the number of an option, or null. */
    public Integer number(String name) {
        String text = values.get(name);
        return text == null ? null : Integer.valueOf(text);
    }

    public int number(String name, int otherwise) {
        Integer number = number(name);
        return number == null ? otherwise : number;
    }

    /**
     * Says that calls are answered, and stays until standard input ends: whoever started the
     * provider is gone then. SIGTERM ends it politely.
     */
    public static void serve(int port, int qosPort) throws Exception {
        System.out.println("READY port=" + port + " qos=" + qosPort);
        System.out.flush();
        while (System.in.read() >= 0) {
            // Nobody has anything to say.
        }
        Runtime.getRuntime().halt(0);
    }
}
